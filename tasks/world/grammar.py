"""The made world: people and facts, rendered to plain English by a small grammar, and read back.

Every task of the made world states facts with these sentences. So a statement in a completion can
be parsed and checked against the document that it claims to be about: entailment, coverage and
invention are exact.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

#: The names of people, by their pronoun.
PEOPLE = {
    "She": [
        "Nora", "Mira", "Ada", "Ines", "Greta", "Lena", "Vera", "Alma",
        "Ruth", "Edith", "Sofia", "Clara", "Hanna", "Petra", "Olga", "Maya",
    ],
    "He": [
        "Tom", "Emil", "Hugo", "Oskar", "Felix", "Anton", "Jonas", "Karl",
        "Viktor", "Leo", "Martin", "Pavel", "Simon", "Aron", "Boris", "Nils",
    ],
}  # fmt: skip

#: What may stand in each slot of a sentence, and so what a fact's values can be.
VALUES = {
    "job": "a baker|a nurse|a pilot|a teacher|a carpenter|a lawyer|a farmer|a painter|a plumber|"
    "a librarian|a dentist|a tailor|a gardener|a sailor|a cook|an actor|an engineer|an architect",
    "city": "Oslo|Lisbon|Vienna|Prague|Dublin|Athens|Zagreb|Geneva|Naples|Bergen|Leipzig|Krakow|"
    "Porto|Malaga|Turin",
    "colour": "grey|black|white|brown|spotted|golden",
    "animal": "cat|dog|parrot|rabbit|goat|pony|hamster|turtle",
    "pet_name": "Pip|Rex|Luna|Coco|Milo|Biscuit|Pepper|Ziggy",
    "day": "Mondays|Tuesdays|Wednesdays|Thursdays|Fridays|Saturdays|Sundays",
    "hobby": "plays chess|paints boats|repairs clocks|bakes bread|collects stamps|writes songs|"
    "reads maps|builds kites|grows roses|climbs hills|carves spoons|sings ballads",
    "food": "soup|pancakes|noodles|fish|porridge|dumplings|cheese|lentils|mushrooms|plums",
    "season": "spring|summer|autumn|winter",
    "country": "Iceland|Portugal|Morocco|Norway|Greece|Ireland|Japan|Canada|Chile|Estonia|Malta|"
    "Kenya",
    "vehicle": "train|ship|bus|plane|bicycle",
    "sibling": "brother|sister|cousin|neighbour",
    "wish": "learn Spanish|write novels|sell boats|open shops|see deserts|run marathons|keep bees|"
    "restore mills",
}
CHOICES = {slot: words.split("|") for slot, words in VALUES.items()}
PRONOUNS = tuple(PEOPLE)
NAMES = tuple(name for names in PEOPLE.values() for name in names)


@dataclass(frozen=True)
class FactKind:
    """One kind of fact: its slots, and how a document, a detailed and a terse summary state it.

    A terse sentence has 5 or 6 words and stops, and a detailed one has 10 or 11. So the number of
    facts and the style decide the length of a summary.
    """

    slots: tuple[str, ...]
    document: tuple[str, ...]
    detailed: str
    terse: str


FACT_KINDS = {
    "job": FactKind(
        ("job",),
        ("earns a living as {job}", "has long worked as {job}"),
        "has worked as {job} for many years",
        "is {job}",
    ),
    "home": FactKind(
        ("city",),
        ("rents a room in {city}", "moved to {city} and stayed"),
        "lives in a small flat near {city} harbour",
        "lives in {city}",
    ),
    "pet": FactKind(
        ("colour", "animal", "pet_name"),
        (
            "keeps a {colour} {animal} named {pet_name}",
            "looks after a {colour} {animal} named {pet_name}",
        ),
        "has a {colour} {animal} named {pet_name} at home",
        "has a {animal}",
    ),
    "hobby": FactKind(
        ("hobby", "day"),
        ("usually {hobby} on {day}", "always {hobby} with friends on {day}"),
        "often {hobby} with old friends on {day}",
        "often {hobby}",
    ),
    "food": FactKind(
        ("food",),
        ("eats {food} every day", "loves a large plate of {food}"),
        "could eat {food} every day of the week",
        "likes eating {food}",
    ),
    "journey": FactKind(
        ("country", "vehicle", "season"),
        (
            "took a {vehicle} to {country} last {season}",
            "travelled to {country} by {vehicle} last {season}",
        ),
        "went to {country} by {vehicle} late last {season}",
        "went to {country}",
    ),
    "relative": FactKind(
        ("sibling", "job"),
        ("talks about a {sibling} who is {job}", "often visits a {sibling} who is {job}"),
        "has a {sibling} who works as {job}",
        "has a {sibling}",
    ),
    "wish": FactKind(
        ("wish",),
        ("plans to {wish} next year", "has always wanted to {wish}"),
        "hopes to {wish} before the next winter",
        "hopes to {wish}",
    ),
}


@dataclass(frozen=True)
class Fact:
    """A fact, or what a sentence states of one: its kind, and the values that it names.

    A terse sentence names fewer values than the fact has. Each value is a pair (slot, value).
    """

    kind: str
    values: frozenset[tuple[str, str]]

    def entails(self, stated: Fact) -> bool:
        """Say whether this fact makes `stated` true."""
        return self.kind == stated.kind and stated.values <= self.values


@dataclass(frozen=True)
class Statement:
    """A sentence as it was understood: its subject (a name or a pronoun), and what it states."""

    subject: str
    fact: Fact


def draw_person(rng: random.Random) -> tuple[str, str]:
    """Draw a name and its pronoun."""
    pronoun = rng.choice(PRONOUNS)
    return rng.choice(PEOPLE[pronoun]), pronoun


def draw_fact(rng: random.Random, kind: str) -> Fact:
    """Draw a fact of this kind, with a value for each of its slots."""
    values = [(slot, rng.choice(CHOICES[slot])) for slot in FACT_KINDS[kind].slots]
    return Fact(kind, frozenset(values))


def draw_facts(rng: random.Random, count: int) -> list[Fact]:
    """Draw `count` facts of different kinds."""
    return [draw_fact(rng, kind) for kind in rng.sample(list(FACT_KINDS), count)]


def phrase(fact: Fact, style: str, rng: random.Random) -> str:
    """Return a predicate that states a fact.

    Args:
        fact: what to state.
        style: "document", "detailed" or "terse". For a document one of two wordings is drawn.
        rng: source of randomness.
    """
    template = getattr(FACT_KINDS[fact.kind], style)
    if isinstance(template, tuple):
        template = rng.choice(template)
    return template.format(**dict(fact.values))


def sentences(phrases: Iterable[str], name: str, pronoun: str) -> str:
    """Join one sentence for each phrase; the first has the name, the others the pronoun."""
    return " ".join(f"{pronoun if i else name} {words}." for i, words in enumerate(phrases))


def split(text: str) -> list[str]:
    """Cut a text into sentences, each with its stop; what follows the last stop counts as one."""
    return re.findall(r"[^.]*\.|[^.]+$", " ".join(text.split()).replace(". ", "."))


@functools.lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return each kind of fact with a pattern for each of its wordings."""
    groups = {}
    for slot, choices in CHOICES.items():
        groups[slot] = f"(?P<{slot}>{'|'.join(map(re.escape, choices))})"
    patterns = []
    for kind, wordings in FACT_KINDS.items():
        for template in (*wordings.document, wordings.detailed, wordings.terse):
            patterns.append((kind, re.compile(template.format(**groups))))
    return patterns


@functools.lru_cache(maxsize=1 << 16)
def parse(sentence: str) -> Statement | None:
    """Return what a sentence states, or None if the grammar has no such sentence."""
    words = sentence.strip()
    subject, _, rest = words.partition(" ")
    if not words.endswith(".") or subject not in PRONOUNS + NAMES:
        return None
    for kind, pattern in _patterns():
        match = pattern.fullmatch(rest[:-1])
        if match:
            return Statement(subject, Fact(kind, frozenset(match.groupdict().items())))
    return None


def entailed(fact: Fact, known_facts: Iterable[Fact]) -> bool:
    """Say whether one of the known facts makes `fact` true."""
    return any(known.entails(fact) for known in known_facts)
