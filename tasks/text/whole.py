"""Whether a text is whole: words, not repeated over and over, that end a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: Marks that may follow the point of a sentence.
CLOSING = r"[\"'”’)]*"
#: Where a sentence ends. A point that follows a digit numbers an item of a list, and one that
#: follows a single letter or a title shortens a word ("e.g.", "Dr. Hall").
SENTENCE_END = re.compile(
    rf"(?<!\d)(?<!\b[A-Za-z])(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bDr)[.!?]{CLOSING}(?=\s|$)"
)
WORD = re.compile(r"\w+(?:['’-]\w+)*")
#: Of the characters of a whole text, at least this share are letters or spaces.
LEAST_LETTERS = 0.8
#: A whole text says no three words in a row more often than this.
MOST_REPEATS = 2


def is_whole(text: str) -> bool:
    """Return whether a text is whole: words, not repeated over and over, that end a sentence."""
    # It has words, ends a sentence, and consists of letters mostly.
    text = text.strip()
    words = WORD.findall(text.lower())
    if len(words) < 2 or not re.search(rf"[.!?]{CLOSING}$", text):
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    if letters < LEAST_LETTERS * len(text) or any(map(_is_broken, text)):
        return False

    # It does not repeat itself.
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    pairs = Counter(zip(words, words[1:], strict=False))
    return (
        max(triples.values(), default=0) <= MOST_REPEATS
        and max(pairs.values(), default=0) <= 2 * MOST_REPEATS
        and all(first != second for first, second in zip(words, words[1:], strict=False))
    )


def _is_broken(character: str) -> bool:
    """Whether a character is in no text: a control character, or what replaces a wrong byte."""
    if character in "\t\n\r":
        return False
    return character == "\ufffd" or unicodedata.category(character).startswith("C")
