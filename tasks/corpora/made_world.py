"""The made world: people and facts, rendered to plain English by a small grammar.

A document states several facts about one person. A summary restates some of them, in the same order,
tersely or in detail, so the lengths of summaries vary widely and do not depend on the document.
Everything is drawn from one seed; no document stands in the data twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from datasets import Dataset

VERSION = 1

PEOPLE = {
    "She": [
        "Nora",
        "Mira",
        "Ada",
        "Ines",
        "Greta",
        "Lena",
        "Vera",
        "Alma",
        "Ruth",
        "Edith",
        "Sofia",
        "Clara",
        "Hanna",
        "Petra",
        "Olga",
        "Maya",
    ],
    "He": [
        "Tom",
        "Emil",
        "Hugo",
        "Oskar",
        "Felix",
        "Anton",
        "Jonas",
        "Karl",
        "Viktor",
        "Leo",
        "Martin",
        "Pavel",
        "Simon",
        "Aron",
        "Boris",
        "Nils",
    ],
}
VALUES = {
    "job": "a baker|a nurse|a pilot|a teacher|a carpenter|a lawyer|a farmer|a painter|a plumber|a librarian|"
    "a dentist|a tailor|a gardener|a sailor|a cook|an actor|an engineer|an architect",
    "city": "Oslo|Lisbon|Vienna|Prague|Dublin|Athens|Zagreb|Geneva|Naples|Bergen|Leipzig|Krakow|Porto|Malaga|Turin",
    "colour": "grey|black|white|brown|spotted|golden",
    "animal": "cat|dog|parrot|rabbit|goat|pony|hamster|turtle",
    "pet_name": "Pip|Rex|Luna|Coco|Milo|Biscuit|Pepper|Ziggy",
    "day": "Mondays|Tuesdays|Wednesdays|Thursdays|Fridays|Saturdays|Sundays",
    "hobby": "plays chess|paints boats|repairs clocks|bakes bread|collects stamps|writes songs|reads maps|builds kites|"
    "grows roses|climbs hills|carves spoons|sings ballads",
    "food": "soup|pancakes|noodles|fish|porridge|dumplings|cheese|lentils|mushrooms|plums",
    "season": "spring|summer|autumn|winter",
    "country": "Iceland|Portugal|Morocco|Norway|Greece|Ireland|Japan|Canada|Chile|Estonia|Malta|Kenya",
    "vehicle": "train|ship|bus|plane|bicycle",
    "sibling": "brother|sister|cousin|neighbour",
    "wish": "learn Spanish|write novels|sell boats|open shops|see deserts|run marathons|keep bees|restore mills",
}
CHOICES = {slot: words.split("|") for slot, words in VALUES.items()}


@dataclass(frozen=True)
class FactKind:
    """One kind of fact: its slots, and how a document, a detailed and a terse summary state it."""

    slots: tuple[str, ...]
    document: tuple[str, ...]
    detailed: str
    terse: str


# Terse sentences have 5 or 6 words and stops, detailed ones 10 or 11, so that the number of facts and the style decide the length.
FACT_KINDS = (
    FactKind(
        ("job",),
        ("earns a living as {job}", "has long worked as {job}"),
        "has worked as {job} for many years",
        "is {job}",
    ),
    FactKind(
        ("city",),
        ("rents a room in {city}", "moved to {city} and stayed"),
        "lives in a small flat near {city} harbour",
        "lives in {city}",
    ),
    FactKind(
        ("colour", "animal", "pet_name"),
        ("keeps a {colour} {animal} named {pet_name}", "looks after a {colour} {animal} named {pet_name}"),
        "has a {colour} {animal} named {pet_name} at home",
        "has a {animal}",
    ),
    FactKind(
        ("hobby", "day"),
        ("usually {hobby} on {day}", "always {hobby} with friends on {day}"),
        "often {hobby} with old friends on {day}",
        "often {hobby}",
    ),
    FactKind(
        ("food",),
        ("eats {food} every day", "loves a large plate of {food}"),
        "could eat {food} every day of the week",
        "likes eating {food}",
    ),
    FactKind(
        ("country", "vehicle", "season"),
        ("took a {vehicle} to {country} last {season}", "travelled to {country} by {vehicle} last {season}"),
        "went to {country} by {vehicle} late last {season}",
        "went to {country}",
    ),
    FactKind(
        ("sibling", "job"),
        ("talks about a {sibling} who is {job}", "often visits a {sibling} who is {job}"),
        "has a {sibling} who works as {job}",
        "has a {sibling}",
    ),
    FactKind(
        ("wish",),
        ("plans to {wish} next year", "has always wanted to {wish}"),
        "hopes to {wish} before the next winter",
        "hopes to {wish}",
    ),
)
FACTS_PER_DOCUMENT = 3


def _sentences(phrases: list[str], name: str, pronoun: str) -> str:
    subjects = [name] + [pronoun] * (len(phrases) - 1)
    return " ".join(f"{subject} {phrase}." for subject, phrase in zip(subjects, phrases, strict=True))


def draw_pair(rng: random.Random) -> tuple[str, str]:
    """Draw one document and one summary of it.

    The number of facts kept is uniform on 1..3 and the summary is terse or detailed with equal
    probability, both independent of the document, so that summaries run from 4 to about 30 words.
    """
    pronoun = rng.choice(list(PEOPLE))
    name = rng.choice(PEOPLE[pronoun])
    facts = [
        (kind, {slot: rng.choice(CHOICES[slot]) for slot in kind.slots}) for kind in rng.sample(FACT_KINDS, FACTS_PER_DOCUMENT)
    ]
    document = _sentences([rng.choice(kind.document).format(**values) for kind, values in facts], name, pronoun)
    kept = sorted(rng.sample(range(FACTS_PER_DOCUMENT), rng.randint(1, FACTS_PER_DOCUMENT)))
    style = rng.choice(("terse", "detailed"))
    phrases = [getattr(facts[i][0], style).format(**facts[i][1]) for i in kept]
    return document, _sentences(phrases, name, pronoun)


def load(settings: dict, files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Nothing is read, `files` is empty. Return one Dataset with columns `prompt` and `completion` for each split in `settings["documents"]`."""
    rng = random.Random(f"made world {VERSION} {seed}")
    seen: set[str] = set()
    splits = {}
    for split, size in settings["documents"].items():
        rows: dict[str, list[str]] = {"prompt": [], "completion": []}
        while len(rows["prompt"]) < size:
            document, summary = draw_pair(rng)
            if document not in seen:
                seen.add(document)
                rows["prompt"].append(document)
                rows["completion"].append(summary)
        splits[split] = Dataset.from_dict(rows)
    return splits
