"""Prices and ratings have three levels: what each value, and each phrase, says of them.

A phrase may fit two levels: a price that is "affordable" may be low or in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Levels = frozenset[str]

LOW = frozenset({"low"})
MIDDLE = frozenset({"middle"})
HIGH = frozenset({"high"})
ANY = LOW | MIDDLE | HIGH

#: The level of each value of `priceRange` and of `customer rating`.
OF_VALUE: dict[str, Levels] = {
    "cheap": LOW,
    "less than £20": LOW,
    "moderate": MIDDLE,
    "£20-25": MIDDLE,
    "high": HIGH,
    "more than £30": HIGH,
    "low": LOW,
    "1 out of 5": LOW,
    "average": MIDDLE,
    "3 out of 5": MIDDLE,
    "5 out of 5": HIGH,
}

#: What turns a phrase into its opposite, with the words that may stand between the two.
NEGATED = (
    r"(?:\bnot(?! only)|n't|\bnever|\bnon|\bno)"
    r"(?: (?:a|an|at|all|the|very|so|too|that|particularly|really|in|of|have|has|got|get|to|be"
    r"|considered|known|for|its))*[ -]"
)


def signed(text: str, phrases: Mapping[str, Levels]) -> Iterator[Levels]:
    """Yield the levels of each phrase in a text in small letters.

    "Not" before a phrase means the levels that the phrase does not fit.

    Args:
        phrases: regular expressions without groups, and the levels that each fits.
    """
    for phrase, levels in phrases.items():
        for match in re.finditer(rf"({NEGATED})?(?:{phrase})", text):
            yield levels if match[1] is None else ANY - levels


def compared(text: str) -> str:
    """Write "above average" as "high", and "below average" as "low"."""
    average = r"(?: the)?[ -](?:average|normal|usual)"
    text = re.sub(rf"\b(?:(?:higher|more|better|greater) than|above){average}", "high", text)
    return re.sub(rf"\b(?:(?:lower|less|worse) than|below){average}", "low", text)


def around(
    noun: str, adjectives: Mapping[str, Levels], between: str, link: str, unless: str
) -> dict[str, Levels]:
    """Return phrases in which an adjective says the level of a noun, before it or after it.

    Args:
        noun: a regular expression, such as one for "price".
        adjectives: a regular expression for the adjectives of each level.
        between: what may stand between "low" and "price".
        link: what may stand between "price" and "low", up to five times.
        unless: what must not follow an adjective that stands after the noun, because the adjective
            then belongs to that.
    """
    phrases: dict[str, Levels] = {}
    for adjective, levels in adjectives.items():
        phrases[rf"\b{adjective}{between}[ -]+{noun}\b"] = levels
        phrases[rf"\b{noun}\b{link}{{0,5}}[ :,-]+{adjective}\b{unless}"] = levels
    return phrases


def words(listed: str) -> str:
    """Return a regular expression for any of the words, which may be regular expressions.

    White space stands between them, and "_" for a space within one.
    """
    return f"(?:{'|'.join(listed.split())})".replace("_", " ")
