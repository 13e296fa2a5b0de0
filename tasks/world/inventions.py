"""Facts that are not true: what a demonstration or a spoilt answer states in place of a fact."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.world import grammar
from tasks.world.grammar import Fact

#: How often an invented statement is of each kind.
INVENTIONS = {"absent kind": 0.6, "other person": 0.2, "wrong value": 0.2}


def invented(
    rng: random.Random,
    answer: Sequence[Fact],
    place: int,
    own: Sequence[Fact],
    borrowable: Sequence[Fact],
) -> Fact:
    """Draw a fact to state in place of `answer[place]`.

    It is not true of the person, and its kind is not in the rest of the answer.

    Args:
        rng: source of randomness.
        answer: the facts that the answer states.
        place: which of them is to be invented.
        own: what the passages say of the person asked about.
        borrowable: what they say of the other person.
    """
    # Which kinds of fact could be made up, and which facts of the other person could be borrowed.
    kinds_stated = {fact.kind for i, fact in enumerate(answer) if i != place}
    kinds_given = {fact.kind for fact in own}
    absent = [kind for kind in grammar.FACT_KINDS if kind not in kinds_stated | kinds_given]
    borrowed = [
        fact
        for fact in borrowable
        if fact.kind not in kinds_stated and not grammar.entailed(fact, own)
    ]

    # Draw the kind of invention; a wrong value takes the place of one that is not possible.
    [invention] = rng.choices(list(INVENTIONS), list(INVENTIONS.values()))
    if invention == "absent kind" and absent:
        return grammar.draw_fact(rng, rng.choice(absent))
    if invention == "other person" and borrowed:
        return rng.choice(borrowed)
    return with_wrong_value(rng, answer[place])


def with_wrong_value(rng: random.Random, fact: Fact) -> Fact:
    """Return the fact with one of its values changed."""
    values = dict(fact.values)
    slot = rng.choice(grammar.FACT_KINDS[fact.kind].slots)
    wrong_values = [choice for choice in grammar.CHOICES[slot] if choice != values[slot]]
    values[slot] = rng.choice(wrong_values)
    return Fact(fact.kind, frozenset(values.items()))
