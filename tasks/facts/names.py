"""Which names of places a text says."""

from __future__ import annotations

import functools
import re
import unicodedata

#: What replaces a name in a text, so that "Raja Indian Cuisine" says nothing of food.
MARK = "§"

#: The places that the data name. A text invents if it names one of them that is not given.
KNOWN = (
    "Alimentum", "All Bar One", "Aromi", "Avalon", "Bibimbap House", "Blue Spice",
    "Browns Cambridge", "Burger King", "Café Adriatic", "Café Brazil", "Café Rouge",
    "Café Sicilia", "Clare Hall", "Clowns", "Cocum", "Cotto", "Crowne Plaza Hotel",
    "Express by Holiday Inn", "Fitzbillies", "Giraffe", "Green Man", "Loch Fyne",
    "Midsummer House", "Rainbow Vegetarian Café", "Raja Indian Cuisine", "Ranch", "Strada",
    "Taste of Cambridge", "The Bakers", "The Cambridge Blue", "The Cricketers",
    "The Dumpling Tree", "The Eagle", "The Golden Curry", "The Golden Palace", "The Mill",
    "The Olive Grove", "The Phoenix", "The Plough", "The Portland Arms", "The Punter",
    "The Rice Boat", "The Six Bells", "The Sorrento", "The Twenty Two", "The Vaults",
    "The Waterman", "The Wrestlers", "Travellers Rest Beefeater", "Wildwood", "Yippee Noodle Bar",
    "Zizzi",
)  # fmt: skip

#: Words that do not say which place it is.
_COMMON = frozenset(
    ("of", "by", "cafe", "hotel", "house", "inn", "hall", "bar", "cuisine", "indian", "vegetarian")
)
#: A part of a name, and a name with wrong letters, count only if they are at least this long.
_LEAST_PART, _LEAST_SIMILAR, _LONG = 4, 5, 9

#: What introduces a place that is near, and words after it that are no place.
_NEAR = r"(?:[Nn]ear(?:by)?|[Nn]ext to|[Cc]lose to|[Bb]eside|[Oo]pposite|by)(?: to)?(?: the| The)?"
_NO_PLACE = (
    r"(?!River|City|Centre|Center|Town|Cambridge|Customer|The\b|A\b|An\b|It|And|In|English|British"
    r"|French|Italian|Indian|Chinese|Japanese|Fast|Pub|Restaurant|Coffee|Area)"
)


def plain(text: str) -> str:
    """Return a text without accents, with straight quotes, short dashes and single spaces."""
    text = text.translate(str.maketrans("‘’ʼ′“”–—−", "''''\"\"---"))
    decomposed = unicodedata.normalize("NFKD", text)
    return " ".join("".join(filter(_is_no_accent, decomposed)).split())


def take(text: str, name: str) -> tuple[str, bool]:
    """Look for a name in a plain text; return the text with `MARK` for it, and whether it is there.

    The article may be missing. One letter may be wrong, or two in a long name. A part of the name
    is enough if it has a capital letter and belongs to no other known place.
    """
    marked, whole = _whole(name).subn(MARK, text)
    if not whole:
        marked, whole = _similar(text, name)
    part = _part(name)
    if part is not None:
        marked, parts = part.subn(MARK, marked)
        whole = whole or parts
    return marked, whole > 0


def take_others(text: str) -> tuple[str, bool]:
    """Mark each place that a plain text names, and say whether there is any.

    The places that are given must be marked before.
    """
    marked, count = _any_place().subn(MARK, text)
    return marked, count > 0


def _is_no_accent(character: str) -> bool:
    return not unicodedata.combining(character)


def _words(name: str) -> list[str]:
    """The words of a name without its article."""
    words = re.findall(r"[\w&]+", plain(name))
    return words[1:] if len(words) > 1 and words[0].lower() == "the" else words


@functools.cache
def _whole(name: str) -> re.Pattern[str]:
    """A whole name, with an article or more, and with an "s" of possession or not."""
    words = r"[ '-]*".join(map(re.escape, _words(name)))
    return re.compile(rf"(?:\bthe )*\b{words}(?:'?s\b|\b'?)", re.IGNORECASE)


@functools.cache
def _part(name: str) -> re.Pattern[str] | None:
    """The words of a name that no other known place has, if the name has several words."""
    words = _words(name)
    others = {word for other in KNOWN if plain(other) != plain(name) for word in _words(other)}
    own = [
        word
        for word in words
        if len(word) >= _LEAST_PART and word not in others and word.lower() not in _COMMON
    ]
    if len(words) < 2 or not own:
        return None
    joined = "|".join(re.escape(word.capitalize()) for word in own)
    return re.compile(rf"\b(?:[Tt]he )?(?:{joined})(?: (?:Cafe|Cuisine|Hotel|Inn))?\b")


def _similar(text: str, name: str) -> tuple[str, int]:
    """Mark the first name with wrong letters, or with a space too many or too few, if any."""
    words = _words(name)
    target = "".join(words).lower()
    if len(target) < _LEAST_SIMILAR:
        return text, 0
    allowed = 1 if len(target) < _LONG else 2
    found = list(re.finditer(r"[\w&]+", text))
    for size in (len(words), len(words) - 1, len(words) + 1):
        for i in range(len(found) - size + 1 if size else 0):
            run = found[i : i + size]
            candidate = "".join(match[0] for match in run).lower()
            if _edits(candidate, target, allowed) <= allowed:
                return text[: run[0].start()] + MARK + text[run[-1].end() :], 1
    return text, 0


def _edits(first: str, second: str, most: int) -> int:
    """Return Levenshtein's distance, or a number above `most` if the lengths differ by more."""
    if abs(len(first) - len(second)) > most:
        return most + 1
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        previous, row = row, [i]
        for j, other in enumerate(second, 1):
            replaced = previous[j - 1] + (letter != other)
            row.append(min(previous[j] + 1, row[-1] + 1, replaced))
    return row[-1]


@functools.cache
def _any_place() -> re.Pattern[str]:
    """Any known name, with its capital letters, or a capital letter after "near"."""
    known = "|".join(re.escape(" ".join(_words(name))) for name in KNOWN)
    return re.compile(rf"\b(?:{known})\b|\b{_NEAR} {_NO_PLACE}[A-Z]\w+(?: [A-Z]\w+)*")
