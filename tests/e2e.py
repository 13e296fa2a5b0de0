"""Facts about places to eat, sentences that state them by a template, and files of both."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

#: What states each value, after the name. A kind of fact without values takes its value as it is.
PHRASES = {
    "eatType": {
        "restaurant": "is a restaurant",
        "pub": "is a pub",
        "coffee shop": "is a coffee shop",
    },
    "food": {
        "Chinese": "serves Chinese dishes",
        "English": "serves British dishes",
        "Fast food": "serves fast food",
        "French": "serves French dishes",
        "Indian": "serves Indian dishes",
        "Italian": "serves Italian dishes",
        "Japanese": "serves Japanese dishes",
    },
    "priceRange": {
        "cheap": "has low prices",
        "less than £20": "costs less than £20",
        "moderate": "is moderately priced",
        "£20-25": "asks for between £20 and £25",
        "high": "is expensive",
        "more than £30": "costs more than 30 pounds",
    },
    "customer rating": {
        "low": "is poorly rated",
        "1 out of 5": "is rated 1 out of 5",
        "average": "has average reviews",
        "3 out of 5": "has three stars",
        "high": "is highly rated",
        "5 out of 5": "has a 5 star rating",
    },
    "area": {"city centre": "lies in the centre of the city", "riverside": "lies by the river"},
    "familyFriendly": {"yes": "welcomes children", "no": "is not family friendly"},
}
NAMES = ("The Mill", "Zizzi", "Blue Spice", "The Golden Curry", "Loch Fyne", "Bibimbap House")
PLACES = ("Raja Indian Cuisine", "Café Rouge", "Burger King", "All Bar One", "The Rice Boat")
KINDS = ("name", *PHRASES, "near")
#: Values of one level, which a text may state in the same words.
LEVELS = (
    {"cheap", "less than £20"},
    {"moderate", "£20-25"},
    {"high", "more than £30"},
    {"low", "1 out of 5"},
    {"average", "3 out of 5"},
    {"high", "5 out of 5"},
)


def draw(rng: random.Random) -> dict[str, str]:
    """Draw a name and two facts at least."""
    kinds = rng.sample(KINDS[1:], rng.randint(2, len(KINDS) - 1))
    values = {kind: rng.choice(list(of_kind)) for kind, of_kind in PHRASES.items()}
    values |= {"name": rng.choice(NAMES), "near": rng.choice(PLACES)}
    return {kind: values[kind] for kind in KINDS if kind == "name" or kind in kinds}


def sentence(facts: Mapping[str, str]) -> str:
    """State facts; without a name the sentence is about "this place"."""
    said = [PHRASES[kind][facts[kind]] for kind in PHRASES if kind in facts]
    if "near" in facts:
        said.append(f"is close to {facts['near']}")
    return f"{facts.get('name', 'This place')} {', '.join(said) or 'is there'}."


def meaning(facts: Mapping[str, str]) -> str:
    """Write facts as E2E does."""
    return ", ".join(f"{kind}[{value}]" for kind, value in facts.items())


def save(folder: Path, **sizes: int) -> dict[str, str]:
    """Write a file of each split, with so many different facts; every third text lacks one."""
    rng = random.Random(5)
    every: dict[str, dict[str, str]] = {}
    while len(every) < sum(sizes.values()):
        facts = draw(rng)
        every[meaning(facts)] = facts
    waiting = list(every.values())
    paths = {}
    for split, size in sizes.items():
        rows = []
        for i in range(size):
            facts = waiting.pop()
            stated = dict(list(facts.items())[:-1]) if i % 3 == 0 else facts
            rows.append({"meaning_representation": meaning(facts), "text": sentence(stated)})
        path = folder / f"{split}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        paths[split] = str(path)
    return paths
