"""Facts about places to eat, and a rule that says which of them a text states, lacks and invents.

The facts are those of the E2E data (Novikova et al. 2017; cleaned by Dušek et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: The kinds of facts, in the order of the data.
KINDS = (
    "name",
    "eatType",
    "food",
    "priceRange",
    "customer rating",
    "area",
    "familyFriendly",
    "near",
)

#: The values that the kinds of facts have; names may be any.
VALUES: Mapping[str, tuple[str, ...]] = {
    "eatType": ("restaurant", "pub", "coffee shop"),
    "food": ("Chinese", "English", "Fast food", "French", "Indian", "Italian", "Japanese"),
    "priceRange": ("cheap", "less than £20", "moderate", "£20-25", "high", "more than £30"),
    "customer rating": ("low", "1 out of 5", "average", "3 out of 5", "high", "5 out of 5"),
    "area": ("city centre", "riverside"),
    "familyFriendly": ("yes", "no"),
}

#: The value of each kind of fact that is given, such as {"name": "The Mill", "area": "riverside"}.
Facts = Mapping[str, str]

_FACT = re.compile(r"\s*([\w ]+?)\s*\[\s*([^\[\]]+?)\s*\]\s*")


class ContradictionError(ValueError):
    """Facts with two values of one kind, which no text can state without contradicting itself."""


def parse(meaning: str) -> dict[str, str]:
    """Read facts as the data write them, such as `name[The Mill], area[riverside]`.

    Raises:
        ContradictionError: if a kind of fact has two values.
        ValueError: if the text has another form, or if a kind of fact or its value is unknown.
    """
    facts: dict[str, str] = {}
    for part in re.split(r"(?<=\]),", meaning):
        match = _FACT.fullmatch(part)
        if match is None or match[1] not in KINDS:
            raise ValueError(
                f"{meaning!r} is no list of facts, because of {part.strip()!r}; it must look like "
                f"'name[The Mill], area[riverside]', and the kinds are {', '.join(KINDS)}"
            )
        allowed = VALUES.get(match[1], (match[2],))
        if match[2] not in allowed:
            raise ValueError(
                f"{meaning!r} has an unknown value of {match[1]!r}: {match[2]!r}; allowed: "
                f"{', '.join(allowed)}"
            )
        if match[1] in facts:
            raise ContradictionError(f"{meaning!r} has two values of {match[1]!r}; leave one out")
        facts[match[1]] = match[2]
    return facts
