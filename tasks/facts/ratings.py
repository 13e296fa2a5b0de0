"""What a text says of how customers rate a place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.facts.levels import HIGH, LOW, MIDDLE, Levels, around, compared, signed, words

_NOUN = (
    r"(?:rat(?:ing|ings|e|es|ed|ting)|raiting|review(?:s|ed)?|score[sd]?|feedback|satisfaction"
    r"|rank(?:ing|ings|ed|s)?|approv(?:al|ed)|reputation|opinions?|evaluations?|recommended"
    r"|recommendations?|regarded|praised|acclaimed|reviewers|quality)"
)
_LINK_WORDS = (
    "is are it its was be of in at as the a an being very quite rather fairly pretty considered"
    " around about this place by customers? only just been to have has which that terms with"
    " received range § restaurant pub shop coffee from consistently relatively score rating level"
)
_LINK = rf"(?:[ :,-]+{words(_LINK_WORDS)}(?=[ :,-]))"
_BETWEEN = (
    r"(?:[ -](?!(?:and|but|with|or|for|it|food|is|are|has|the|in|that|which)\b|pric|cost|rat"
    r"|review)[\w']+){0,2}"
)
#: "Ratings and high prices" says nothing of ratings.
_OF_PRICE = r"(?!(?:[ -](?!and\b|but\b)[\w']+){0,2}[ -]pric)"
_MIDDLE_OR_HIGH = MIDDLE | HIGH
_ADJECTIVES: dict[str, Levels] = {
    words(
        "low lower lowest lowly poor poor_in poorly bad badly terrible negative horrible awful"
        " unsatisfactory unfavou?rable worst"
    ): LOW,
    words(
        "average averagely avg mediocre medium middle mid moderate moderately decent decently fair"
        " okay ok mixed middling mid-range satisfactory reasonable"
    ): MIDDLE,
    words("good well nice nicely positive positively favou?rable favou?rably"): _MIDDLE_OR_HIGH,
    words(
        "high highly higher highest excellent great top best outstanding perfect superb fantastic"
        " amazing exceptional superior wonderful strong fabulous impressive maximum full"
    ): HIGH,
}
_PHRASES = around(_NOUN, _ADJECTIVES, _BETWEEN, _LINK, _OF_PRICE)

_OF_WORD = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_NUMBER = rf"({words(' '.join(_OF_WORD))}|[1-5])"
#: The number before is what counts in "1 out of 5 stars".
_NOT_THE_SCALE = r"(?<!out of )(?<!our of )(?<!out )(?<!of a )(?<![0-9] of )(?<!/ )(?<!/)"
_IN_NUMBERS = (
    rf"\b{_NUMBER}(?:[ -]stars?)?"
    r"(?:[ -](?:ou[rt][ -]of|of|out)[ -](?:a )?(?:possible )?(?:5|five)\b| ?/ ?(?:5|five)\b)",
    rf"{_NOT_THE_SCALE}\b{_NUMBER}[ -]?stars?\b",
    rf"\brat(?:ing|ings|ed|es?){_LINK}{{0,4}}[ :-]+{_NUMBER}\b(?! ?(?:out|/|-?star|of))",
    rf"{_NOT_THE_SCALE}\b{_NUMBER}(?: customer| user)?[ -]rat(?:ing|ed)",
)


def stated(text: str) -> set[Levels]:
    """Return what a text in small letters says of ratings: the levels that each phrase fits."""
    text = compared(text)
    return {*signed(text, _PHRASES), *_numbers(text)}


def _numbers(text: str) -> Iterator[Levels]:
    """Yield the level of each rating in numbers, such as "3 out of 5" or "five stars"."""
    for pattern in _IN_NUMBERS:
        for match in re.finditer(pattern, text):
            number = _OF_WORD.get(match[1]) or int(match[1])
            yield LOW if number < 3 else MIDDLE if number == 3 else HIGH
