"""The rule: which of the given facts a text states, which it lacks, and what it invents."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.facts import Facts, families, kinds, names, prices, ratings
from tasks.facts.levels import OF_VALUE, Levels


@dataclass(frozen=True)
class Verdict:
    """What the rule says of a text; each is a set of kinds of facts.

    Attributes:
        stated: given, and stated with the given value.
        missing: given, and not stated with the given value.
        invented: stated with a value that is not the given one, or stated and not given. Any place
            that is not given counts as `near`, because a text does not say what a name stands for.
    """

    stated: frozenset[str]
    missing: frozenset[str]
    invented: frozenset[str]


def check(facts: Facts, text: str) -> Verdict:
    """Compare a text with the facts that it should state.

    A wrong value is missing and invented. A kind of fact is missing once and invented once at most,
    however often the text speaks of it. Whether a value is put in words or in numbers makes no
    difference: "cheap" and "less than £20" say the same, and so do "low" and "1 out of 5".
    """
    stated: set[str] = set()
    invented: set[str] = set()

    # Names come first and are marked, so that no other fact is read in them.
    text = names.plain(text)
    for kind in ("near", "name"):
        if kind in facts:
            text, found = names.take(text, facts[kind])
            if found:
                stated.add(kind)
    text, found = names.take_others(text)
    if found:
        invented.add("near")

    # The other facts.
    text = text.lower()
    said: dict[str, set[str]] = {kind: kinds.stated(kind, text) for kind in kinds.PHRASES}
    said["familyFriendly"] = families.stated(text)
    for kind, values in said.items():
        if facts.get(kind) in values:
            stated.add(kind)
        if values - {facts.get(kind)}:
            invented.add(kind)
    leveled = {"priceRange": prices.stated(text), "customer rating": ratings.stated(text)}
    for kind, phrases in leveled.items():
        fits = [_fits(levels, facts.get(kind)) for levels in phrases]
        if any(fits):
            stated.add(kind)
        if not all(fits):
            invented.add(kind)
    return Verdict(frozenset(stated), frozenset(facts) - stated, frozenset(invented))


def _fits(levels: Levels, given: str | None) -> bool:
    """Whether a phrase that may mean these levels may mean the given price or rating."""
    return given is not None and OF_VALUE[given] <= levels
