"""What a text says of the kind of place, of its food and of its area."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Regular expressions for each value; the text is in small letters, and names are marked in it.
PHRASES: Mapping[str, Mapping[str, str]] = {
    "eatType": {
        "restaurant": r"rest[ua]+r?[ua]*r*[ua]*nts?|restraunts?",
        "pub": r"pubs?|public house|tavern|bar",
        "coffee shop": r"coffee[ -]?(?:shops?|house|bar|place|chop|store|spot)|cafes?|coffee",
    },
    "food": {
        "Chinese": r"chinese?|china",
        "English": r"english|british|fish (?:and|&|n) chips|england",
        "Fast food": r"fast[ -]?foods?|burgers?|hamburgers?",
        "French": r"french|france",
        "Indian": r"indian?|curry|curries",
        "Italian": r"italian?|italy|pasta|pizzas?|spaghetti",
        "Japanese": r"japanese|japan|sushi",
        "another": (
            r"american|mexican|thai|greek|spanish|korean|vietnamese|turkish|german|mediterranean"
            r"|asian|european|vegan|vegetarian|seafood|scottish|irish|lebanese|moroccan|caribbean"
            r"|african|brazilian|russian"
        ),
    },
    "area": {
        "city centre": (
            r"(?:city|cities|citys|city's|town)[ -]?cent(?:re|er|ere|ral)s?|cent(?:re|er)"
            r"|cent(?:re|er) (?:city|area)|central|centrally|downtown|city area|inner city"
            r"|(?:heart|middle) of (?:the )?(?:city|town)|in (?:the )?city(?! of)"
        ),
        "riverside": r"river\w*|waterside|waterfront|water'?s edge|by the water",
    },
}


def stated(kind: str, text: str) -> set[str]:
    """Return the values of a kind of fact, one of those in `PHRASES`, that a text states."""
    phrases = PHRASES[kind]
    return {value for value, words in phrases.items() if re.search(rf"\b(?:{words})\b", text)}
