"""Posts to be summarised: facts about one person among chit-chat.

What a summary keeps, invents and repeats is counted exactly.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import by_measure
from tasks.world import drawn, grammar
from tasks.world.chit_chat import NOISE_FORMS
from tasks.world.grammar import Fact
from tasks.world.posts import Post, read_post, read_sentence, same_claim

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "own"

# How often a demonstration has each blemish, whatever its post says.
NOISY = 0.4  # it repeats a sentence of chit-chat; drawn for each sentence
REPETITIVE = 0.15  # it states one fact twice
UNTRUE = 0.05  # it states one fact falsely

MEASURES = ("gold", "coverage", "invented", "repeated", "noise", "words", "wellformed")


class SummarizationTask:
    """Summarise a post: keep the facts, leave the chit-chat out, be brief, add nothing.

        gold = coverage - (invented + repeated + noise) / facts of the post - word_cost * words

    Gold is -1 for an empty summary, because silence must not pay.

    - `coverage` is the share of the post's facts that are stated correctly, each counted once.
    - `invented` counts sentences that are neither true statements about the post's person nor
      chit-chat of the post. These are false statements, statements with another name or the wrong
      pronoun, chit-chat from elsewhere, and what the grammar cannot read, such as a sentence that
      was cut off.
    - `repeated` counts sentences that say again what an earlier one said, tersely or in detail. An
      invention that is said again counts as both.
    - `noise` counts the post's sentences of chit-chat, each where it occurs first.

    Args:
        facts: number of facts in a post.
        noise: number of sentences of chit-chat in a post.
        word_cost: gold lost for each word.
    """

    name = "summarization"
    version = 1

    def __init__(self, *, facts: int, noise: int, word_cost: float):
        _check_count("facts", facts, 1, len(grammar.FACT_KINDS))
        _check_count("noise", noise, 0, len(NOISE_FORMS))
        if not isinstance(word_cost, (int, float)) or not 0 <= word_cost < math.inf:
            raise ValueError(f"word_cost = {word_cost!r} must be a finite number, at least 0")
        self.facts = facts
        self.noise = noise
        self.word_cost = word_cost

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Draw posts and demonstrations of mixed quality, as many as `corpus["documents"]` says.

        Nothing is read, so `files` is not used.
        """
        rng_seed = f"{self.name} {self.version} {self.facts} {self.noise} {seed}"
        return drawn.splits(self.draw_pair, corpus["documents"], rng_seed)

    def draw_pair(self, rng: random.Random) -> tuple[str, str]:
        """Draw one prompt and one demonstration."""
        # What the post says.
        name, pronoun = grammar.draw_person(rng)
        facts = grammar.draw_facts(rng, self.facts)
        noise = [rng.choice(form) for form in rng.sample(NOISE_FORMS, self.noise)]
        phrases = [grammar.phrase(fact, "document", rng) for fact in facts]
        statements = grammar.split(grammar.sentences(phrases, name, pronoun))

        # What the demonstration says of it.
        summary_phrases = _draw_phrases(facts, phrases, rng)
        summary = grammar.split(grammar.sentences(summary_phrases, name, pronoun))
        for sentence in noise:
            if rng.random() < NOISY:
                summary.insert(rng.randint(1, len(summary)), sentence)

        post = _scattered(noise, statements, rng)
        return f"Post: {' '.join(post)}\nTL;DR:", f" {' '.join(summary)}"

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Return `gold` and what it is made of, as the class describes.

        `wellformed` is 1 if every sentence is a statement of the grammar or chit-chat.

        Raises:
            ValueError: if a prompt is not a post of this task.
        """
        rows = [
            self._verdict(read_post(prompt), summary)
            for prompt, summary in zip(prompts, completions, strict=True)
        ]
        return by_measure(MEASURES, rows)

    def _verdict(self, post: Post, summary: str) -> dict[str, float]:
        """Return the measures of one summary."""
        words = len(summary.split())
        if not words:
            return dict.fromkeys(MEASURES, 0.0) | {"gold": -1.0}

        # What each sentence says, and whether an earlier one said it.
        claims = [read_sentence(sentence, post) for sentence in grammar.split(summary)]
        understood = [claim for claim in claims if claim]
        repeated = 0
        covered = 0
        noise = 0
        for i, claim in enumerate(understood):
            if any(same_claim(claim, earlier) for earlier in understood[:i]):
                repeated += 1
            elif claim.true and isinstance(claim.said, str):
                noise += 1
            elif claim.true:
                covered += 1
        invented = len(claims) - sum(claim.true for claim in understood)

        # Gold, as the class describes it.
        facts = len(post.facts)
        coverage = covered / facts
        gold = coverage - (invented + repeated + noise) / facts - self.word_cost * words
        return {
            "gold": gold,
            "coverage": coverage,
            "invented": float(invented),
            "repeated": float(repeated),
            "noise": float(noise),
            "words": float(words),
            "wellformed": float(len(understood) == len(claims)),
        }


def _check_count(key: str, value: int, low: int, high: int) -> None:
    """Raise ValueError if a setting is not a whole number from `low` to `high`."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{key} = {value!r} must be a whole number from {low} to {high}")


def _draw_phrases(facts: Sequence[Fact], quotes: Sequence[str], rng: random.Random) -> list[str]:
    """Draw what a demonstration says of the facts.

    It states some of them, tersely or in the post's own words. At times it states one of them
    falsely, or twice.

    Args:
        facts: the facts of the post.
        quotes: the phrases with which the post states them.
        rng: source of randomness.
    """
    style = rng.choice(("terse", "document"))
    kept = sorted(rng.sample(range(len(facts)), rng.randint(1, len(facts))))
    if style == "document":
        phrases = [quotes[i] for i in kept]
    else:
        phrases = [grammar.phrase(facts[i], style, rng) for i in kept]
    if rng.random() < UNTRUE:
        place = rng.randrange(len(kept))
        phrases[place] = untrue_phrase(facts[kept[place]], style, rng)
    if rng.random() < REPETITIVE:
        place = rng.randrange(len(kept))
        phrases.insert(rng.choice((place + 1, len(kept))), phrases[place])
    return phrases


def untrue_phrase(fact: Fact, style: str, rng: random.Random) -> str:
    """Draw a phrase of the fact's kind, in this style, that the fact does not make true."""
    while True:
        phrase = grammar.phrase(grammar.draw_fact(rng, fact.kind), style, rng)
        stated = grammar.parse(f"{grammar.PRONOUNS[0]} {phrase}.")
        if stated and not fact.entails(stated.fact):
            return phrase


def _scattered(noise: Sequence[str], statements: Sequence[str], rng: random.Random) -> list[str]:
    """Scatter chit-chat among the statements, in order; all placements are equally likely."""
    count = len(noise) + len(statements)
    noise_places = set(rng.sample(range(count), len(noise)))
    next_noise = iter(noise)
    next_statement = iter(statements)
    return [next(next_noise if i in noise_places else next_statement) for i in range(count)]


def create(settings: Mapping[str, Any]) -> SummarizationTask:
    """Make the task from its settings."""
    return SummarizationTask(**settings)
