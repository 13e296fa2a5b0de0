"""What a text says of prices."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.facts.levels import HIGH, LOW, MIDDLE, Levels, around, compared, signed, words

_LOW_OR_MIDDLE = LOW | MIDDLE
_MIDDLE_OR_HIGH = MIDDLE | HIGH

_NOUN = r"(?:price[sd]?|pricing|pricey|cost(?:s|ing)?|range[sd]?|charges?|bill|value)"
_LINK_WORDS = (
    "is are it was be of in at on the a an its range ranges ranging ranged point points level"
    " category bracket menu being very quite rather fairly pretty considered around about food"
    " which that side kept relatively from for somewhat bit little slightly extremely more meals?"
    " dishes"
)
_LINK = rf"(?:[ :,-]+{words(_LINK_WORDS)}(?=[ :,-]))"
_BETWEEN = r"(?:[ -](?!(?:and|but|with|or|is|has|it)\b|customer|rat|review)[\w']+)?"
#: "Price range and low customer rating" says nothing of prices.
_OF_RATING = r"(?!(?:[ -](?!and\b|but\b|price)[\w']+){0,2}[ -](?:rat(?:ing|ed)|review))"
_ADJECTIVES: dict[str, Levels] = {
    words("low lower lowest cheap cheaper cheaply small budget bargain inexpensive"): LOW,
    words(
        "affordable affordably reasonable reasonably fair fairly decent good great"
    ): _LOW_OR_MIDDLE,
    words(
        "moderate moderated moderately average averagely mid middle medium mild modest modestly"
        " normal mid-?range mid-?priced mid-?level standard"
    ): MIDDLE,
    words("high higher highly highest high-end expensive steep premium upper top"): HIGH,
}
#: What speaks of prices without saying "price". In "mid-range rating" it does not.
_NOT_OF_RATING = r"(?! (?:customer|user|rat|review|rank))"
_ALONE: dict[str, Levels] = {
    r"(?<!moderately )\b(?:cheap|cheaper|cheaply|cheapest|inexpensive|inexpensively)\b": LOW,
    rf"\b(?:low[ -]cost|budget|low[ -]end)\b{_NOT_OF_RATING}": LOW,
    r"\b(?:moderately (?:cheap|inexpensive)|affordable|affordably|reasonably)\b"
    rf"{_NOT_OF_RATING}": _LOW_OR_MIDDLE,
    rf"\b(?:mid(?:dle)?[ -]?range[ds]?|moderately(?! (?:expensive|cheap|inexpensive)))\b"
    rf"{_NOT_OF_RATING}": MIDDLE,
    r"\bmoderately (?:expensive|pricey)\b": _MIDDLE_OR_HIGH,
    r"(?<!moderately )\b(?:expensive|pricey|pricy|costly|high[ -]end|upscale|up-?market)\b": HIGH,
}
_PHRASES = around(_NOUN, _ADJECTIVES, _BETWEEN, _LINK, _OF_RATING) | _ALONE


def _money(amount: int) -> str:
    """A regular expression for a sum of money, with or without a currency."""
    currency = r"(?:£|\$|€|e|gbp|pounds?|euros?|quid|dollars)"
    return rf"(?<!\d){currency}? ?{amount}(?:\.00)?(?!\d)(?: ?{currency}\b)?"


_BELOW = (
    r"(?:(?:less|lower|cheaper|fewer|lower prices) (?:than|that|then)|under|below|up to|within"
    r"|beneath|no more than|not more than|at most|<|max(?:imum)?(?: of)?)"
)
_ABOVE = (
    r"(?:(?<!no )(?<!not )(?:more|higher|greater) (?:than|that|then)|over|above|upwards? of"
    r"|exceed(?:ing|s)?|at least|starting (?:at|from)|from|beyond|in excess of|>)"
)
_AND_MORE = r"(?:\+|or more|plus|and (?:up|above|over)|minimum)"
#: The sums of the data are £20, £25 and £30.
_SUMS: dict[str, Levels] = {
    rf"{_BELOW} {_money(20)}": LOW,
    rf"{_BELOW} (?:{_money(25)}|{_money(30)})": _LOW_OR_MIDDLE,
    rf"{_money(20)} ?(?:-|to|and|through|/|or)+ ?{_money(25)}": MIDDLE,
    rf"{_ABOVE} {_money(30)}|{_money(30)} ? ?{_AND_MORE}": HIGH,
    rf"{_ABOVE} {_money(20)}(?! ?(?:-|to|and) ?{_money(25)})": _MIDDLE_OR_HIGH,
}


def stated(text: str) -> set[Levels]:
    """Return what a text in small letters says of prices: the levels that each phrase fits."""
    text = compared(text)
    return {*signed(text, _PHRASES), *_sums(text)}


def _sums(text: str) -> Iterator[Levels]:
    for phrase, levels in _SUMS.items():
        if re.search(phrase, text):
            yield levels
