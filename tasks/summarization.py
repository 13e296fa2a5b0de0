"""Posts to be summarised: facts about one person among chit-chat. What a summary keeps, invents and repeats is exact."""

from __future__ import annotations

import functools
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.world import drawn, grammar
from tasks.world.grammar import Fact

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "own"

# How often a demonstration has each blemish, whatever its post says: each sentence of chit-chat, one fact twice, one fact falsely.
NOISY, REPETITIVE, UNTRUE = 0.4, 0.15, 0.05

# Chit-chat: sentences, and what may stand in the slot. They have no name and no pronoun of the made world: none is a statement.
CHIT_CHAT = {
    "The {} was late again.": "bus|tram|lift",
    "It {} all morning.": "rained|snowed|poured",
    "My phone battery is {} again.": "low|flat|dead",
    "The {} has gone cold.": "tea|coffee|bath",
    "The wifi is very slow today.": "",
    "Someone left the {} light on.": "kitchen|cellar|porch",
    "There was {} upstairs all night.": "music|drilling|shouting",
    "The store ran out of {}.": "milk|sugar|salt|eggs",
    "I still cannot find my {}.": "keys|glasses|umbrella",
    "Sorry for the long post.": "",
}
NOISE_FORMS = tuple(
    tuple(form.format(word) for word in words.split("|")) for form, words in CHIT_CHAT.items()
)
NOISE_SENTENCES = frozenset(sentence for form in NOISE_FORMS for sentence in form)


@dataclass(frozen=True)
class Post:
    """A post as it was understood: whom it is about, the salient facts, the chit-chat."""

    name: str
    pronoun: str
    facts: tuple[Fact, ...]
    noise: frozenset[str]


@dataclass(frozen=True)
class Claim:
    """What a sentence of a summary says, of whom (the name for the post's person, "" for chit-chat), and if the post has it."""

    about: str
    said: Fact | str
    true: bool


class SummarizationTask:
    """Summarise a post: keep the salient facts, leave the chit-chat out, be brief, add nothing.

        gold = coverage - (invented + repeated + noise) / (salient facts of the post) - word_cost * words

    and -1 for an empty summary: silence must not pay. `coverage` is the share of the salient facts that are stated correctly,
    each counted once. `invented` counts sentences that are neither true statements about the post's person nor chit-chat of the
    post: false statements, another name, the wrong pronoun, chit-chat from elsewhere, what no grammar has (also a sentence
    that was cut off). `repeated` counts sentences that say again what an earlier one said, tersely or in detail; an invention
    that is said again counts as both. `noise` counts chit-chat of the post, first occurrences.

    Args:
        facts: salient facts of a post.
        noise: sentences of chit-chat of a post.
        word_cost: gold lost per word.
    """

    name = "summarization"
    version = 1

    def __init__(self, *, facts: int, noise: int, word_cost: float):
        for key, value, low, high in (
            ("facts", facts, 1, len(grammar.FACT_KINDS)),
            ("noise", noise, 0, len(NOISE_FORMS)),
        ):
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{key} = {value!r} must be a whole number from {low} to {high}")
        if not isinstance(word_cost, (int, float)) or not 0 <= word_cost < math.inf:
            raise ValueError(f"word_cost = {word_cost!r} must be a finite number, at least 0")
        self.facts, self.noise, self.word_cost = facts, noise, word_cost

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Posts and demonstrations of mixed quality; nothing is read, `corpus["documents"]` has the rows of each split."""
        return drawn.splits(
            self.draw_pair,
            corpus["documents"],
            f"{self.name} {self.version} {self.facts} {self.noise} {seed}",
        )

    def draw_pair(self, rng: random.Random) -> tuple[str, str]:
        """Draw one prompt and one demonstration."""
        name, pronoun = grammar.draw_person(rng)
        facts = grammar.draw_facts(rng, self.facts)
        noise = [rng.choice(form) for form in rng.sample(NOISE_FORMS, self.noise)]
        phrases = [grammar.phrase(fact, "document", rng) for fact in facts]
        salient = grammar.split(grammar.sentences(phrases, name, pronoun))
        summary = grammar.split(
            grammar.sentences(_draw_phrases(facts, phrases, rng), name, pronoun)
        )
        for sentence in noise:
            if rng.random() < NOISY:
                summary.insert(rng.randint(1, len(summary)), sentence)
        return f"Post: {' '.join(_scattered(noise, salient, rng))}\nTL;DR:", f" {' '.join(summary)}"

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """`gold` and what it is made of, see the class; `wellformed` is 1 if the grammars have every sentence.

        Raises:
            ValueError: if a prompt is not a post of this task.
        """
        rows = [
            self._judge_one(read_post(prompt), summary)
            for prompt, summary in zip(prompts, completions, strict=True)
        ]
        names = ("gold", "coverage", "invented", "repeated", "noise", "words", "wellformed")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}

    def _judge_one(self, post: Post, summary: str) -> tuple[float, ...]:
        """The measures in the order of `judge`."""
        words = len(summary.split())
        if not words:
            return (-1.0, *[0.0] * 6)
        claims = [_read_sentence(sentence, post) for sentence in grammar.split(summary)]
        understood = [claim for claim in claims if claim]
        repeats = [
            any(_same(claim, earlier) for earlier in understood[:i])
            for i, claim in enumerate(understood)
        ]
        kept = [
            claim.said
            for claim, repeat in zip(understood, repeats, strict=True)
            if claim.true and not repeat
        ]
        noise, repeated = sum(isinstance(said, str) for said in kept), sum(repeats)
        invented = len(claims) - sum(claim.true for claim in understood)
        coverage = (len(kept) - noise) / len(post.facts)
        gold = coverage - (invented + repeated + noise) / len(post.facts) - self.word_cost * words
        wellformed = len(understood) == len(claims)
        return (
            gold,
            coverage,
            float(invented),
            float(repeated),
            float(noise),
            float(words),
            float(wellformed),
        )


def _draw_phrases(facts: Sequence[Fact], quotes: Sequence[str], rng: random.Random) -> list[str]:
    """What a demonstration says of the facts: some of them, tersely or in the post's own words, at times one of them falsely or twice."""
    style = rng.choice(("terse", "document"))
    kept = sorted(rng.sample(range(len(facts)), rng.randint(1, len(facts))))
    phrases = [
        quotes[i] if style == "document" else grammar.phrase(facts[i], style, rng) for i in kept
    ]
    if rng.random() < UNTRUE:
        i = rng.randrange(len(kept))
        phrases[i] = untrue_phrase(facts[kept[i]], style, rng)
    if rng.random() < REPETITIVE:
        i = rng.randrange(len(kept))
        phrases.insert(rng.choice((i + 1, len(kept))), phrases[i])
    return phrases


def untrue_phrase(fact: Fact, style: str, rng: random.Random) -> str:
    """A phrase of the fact's kind, in this style, that the fact does not make true."""
    while True:
        phrase = grammar.phrase(grammar.draw_fact(rng, fact.kind), style, rng)
        stated = grammar.parse(f"{grammar.PRONOUNS[0]} {phrase}.")
        if stated and not fact.entails(stated.fact):
            return phrase


def _scattered(some: Sequence[str], among: Sequence[str], rng: random.Random) -> list[str]:
    """Both, each in its order; every choice of places is equally likely."""
    places = set(rng.sample(range(len(some) + len(among)), len(some)))
    rest, scattered = iter(among), iter(some)
    return [next(scattered if i in places else rest) for i in range(len(some) + len(among))]


@functools.lru_cache(maxsize=1 << 16)
def read_post(prompt: str) -> Post:
    """Understand a prompt.

    Raises:
        ValueError: if it is not a post of this task.
    """
    match = re.fullmatch(r"Post: (.*)\nTL;DR:", prompt)
    sentences = grammar.split(match[1]) if match else []
    noise = frozenset(sentence for sentence in sentences if sentence in NOISE_SENTENCES)
    statements = [statement for sentence in sentences if (statement := grammar.parse(sentence))]
    if (
        not statements
        or len(statements) + len(noise) < len(sentences)
        or statements[0].subject not in grammar.NAMES
    ):
        raise ValueError(f"not a post of the task summarization: {prompt!r}")
    name = statements[0].subject
    pronoun = next(pronoun for pronoun, names in grammar.PEOPLE.items() if name in names)
    return Post(name, pronoun, tuple(statement.fact for statement in statements), noise)


def _read_sentence(sentence: str, post: Post) -> Claim | None:
    """What a sentence of a summary claims, or None if no grammar has it."""
    if sentence in NOISE_SENTENCES:
        return Claim("", sentence, sentence in post.noise)
    statement = grammar.parse(sentence)
    if statement is None:
        return None
    own = statement.subject in (post.name, post.pronoun)
    true = own and grammar.entailed(statement.fact, post.facts)
    return Claim(post.name if own else statement.subject, statement.fact, true)


def _same(claim: Claim, earlier: Claim) -> bool:
    """Whether two claims are one: the same, or a terse and a detailed statement of one fact (both true or both false)."""
    if (claim.about, claim.true) != (earlier.about, earlier.true):
        return False
    if isinstance(claim.said, Fact) and isinstance(earlier.said, Fact):
        return claim.said.entails(earlier.said) or earlier.said.entails(claim.said)
    return claim.said == earlier.said


def create(settings: Mapping[str, Any]) -> SummarizationTask:
    """Make the task from its settings."""
    return SummarizationTask(**settings)
