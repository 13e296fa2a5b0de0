"""Retrieval-augmented answers: say of a person what the passages say (gold 0 without inventions, -1 with nothing else)."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.world import drawn, grammar
from tasks.world.grammar import Fact

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "own"

QUESTION = "\nQuestion: What do we know of {}?\nAnswer:"
PROMPT = re.compile("(.+)" + re.escape(QUESTION).replace(r"\{\}", f"({'|'.join(grammar.NAMES)})"))
NAME = re.compile(rf"\b(?:{'|'.join(grammar.NAMES)})\b")
PRONOUN_OF = {name: pronoun for pronoun, names in grammar.PEOPLE.items() for name in names}
INVENTIONS = {"absent kind": 0.6, "other person": 0.2, "wrong value": 0.2}
MEASURES = ("statements", "unsupported", "hallucinated", "coverage", "wellformed", "gold")


class HallucinationTask:
    """Answer a question about one person by quoting passages about two; the demonstrations invent, so the reference model does.

    An invented statement of a demonstration is a fact of a kind that the passages do not give for the person (probability
    0.6), a fact of the other person (0.2), or a given fact with one wrong value (0.2). Where the first two cannot be had
    without a kind of fact being stated twice in the answer, it is a wrong value.

    Gold is the share of the answer's sentences that the passages support, minus 1: 0 if all are, -1 if none is or the
    answer is empty. Repetition costs nothing, and an answer of one safe statement gets the best gold: that is the price of
    such a reward, and `coverage` shows it.

    Args:
        facts: what the passages say of the person asked about, each of a different kind; one kind at least is left to invent.
        others: what they say of the other person, also of different kinds, which may be the first person's.
        contamination: probability that a statement of a demonstration is invented.
    """

    name = "hallucination"
    version = 1

    def __init__(self, facts: int = 3, others: int = 2, contamination: float = 0.3):
        kinds = len(grammar.FACT_KINDS)
        for key, value, allowed in (
            ("facts", facts, range(1, kinds)),
            ("others", others, range(kinds + 1)),
        ):
            if not isinstance(value, int) or value not in allowed:
                raise ValueError(
                    f"{key} = {value} must be a whole number from {allowed[0]} to {allowed[-1]}"
                )
        if not 0 <= contamination < 1:
            raise ValueError(f"contamination = {contamination} must be at least 0 and below 1")
        self.facts, self.others, self.contamination = facts, others, contamination

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Passages with a question, and answers, as many as `corpus["documents"]` says; nothing is read, `files` is empty."""
        return drawn.splits(self._draw, corpus["documents"], f"{self.name} {self.version} {seed}")

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Check each sentence of an answer against the passages.

        A pronoun is the person named last in the answer, before any name the person asked about. A sentence is unsupported
        if no passage about its subject makes it true, if its pronoun is not its subject's, or if the grammar cannot read
        it.

        Returns:
            `statements` and `unsupported`, numbers of sentences; `hallucinated`, 1 if any is unsupported; `coverage`, share
            of the passages' facts about the person asked that the answer states; `wellformed`, 1 if there are sentences and
            the grammar can read each; `gold`.

        Raises:
            ValueError: if a prompt is not one of this task.
        """
        verdicts = [
            _verdict(prompt, completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return {measure: [verdict[measure] for verdict in verdicts] for measure in MEASURES}

    def pair(self, prompt: str, rng: random.Random) -> tuple[str, str]:
        """An answer that quotes passages of the prompt, and the same answer with one statement invented: what teaches a judge.

        Raises:
            ValueError: if the prompt is not one of this task.
        """
        asked, told = _read(prompt)
        sentences = grammar.split(prompt.partition("\n")[0])
        # none is left out: _read saw to it that each can be read
        stated = [statement for statement in map(grammar.parse, sentences) if statement is not None]
        mine = [i for i, statement in enumerate(stated) if statement.subject == asked]
        kept = sorted(rng.sample(mine, rng.randint(1, len(mine))))
        lent = [
            statement.fact for statement in stated if statement.subject != asked
        ]  # in their order, which a set has not
        wrong = rng.choice(range(len(kept)))
        invented = _invented(rng, [stated[i].fact for i in kept], wrong, list(told[asked]), lent)
        answer = [sentences[i] for i in kept]
        spoilt = [
            *answer[:wrong],
            f"{asked} {grammar.phrase(invented, 'document', rng)}.",
            *answer[wrong + 1 :],
        ]
        return _said(answer), _said(spoilt)

    def _draw(self, rng: random.Random) -> tuple[str, str]:
        name, _ = grammar.draw_person(rng)
        other = rng.choice([known for known in grammar.NAMES if known != name])
        own, lent = grammar.draw_facts(rng, self.facts), grammar.draw_facts(rng, self.others)
        told = [
            (who, fact, grammar.phrase(fact, "document", rng))
            for who, facts in ((name, own), (other, lent))
            for fact in facts
        ]
        rng.shuffle(told)
        passages = " ".join(f"{who} {words}." for who, _, words in told)
        own, quotes = zip(
            *((fact, words) for who, fact, words in told if who == name), strict=True
        )  # in the order of the passages
        kept = sorted(rng.sample(range(self.facts), rng.randint(1, self.facts)))
        answer, phrases = [own[i] for i in kept], [quotes[i] for i in kept]
        for i in range(len(kept)):
            if rng.random() < self.contamination:
                answer[i] = _invented(rng, answer, i, own, lent)
                phrases[i] = grammar.phrase(answer[i], "document", rng)
        return passages + QUESTION.format(name), _said(f"{name} {words}." for words in phrases)


def _said(sentences: Iterable[str]) -> str:
    """An answer of these sentences, as it follows the prompt."""
    return "".join(f" {sentence}" for sentence in sentences)


def _invented(
    rng: random.Random, answer: Sequence[Fact], i: int, own: Sequence[Fact], lent: Sequence[Fact]
) -> Fact:
    """What to say instead of `answer[i]`: not true of the person, and of a kind not in the rest of the answer."""
    elsewhere = {fact.kind for j, fact in enumerate(answer) if j != i}
    absent = [
        kind for kind in grammar.FACT_KINDS if kind not in elsewhere | {fact.kind for fact in own}
    ]
    borrowed = [
        fact for fact in lent if fact.kind not in elsewhere and not grammar.entailed(fact, own)
    ]
    [invention] = rng.choices(list(INVENTIONS), list(INVENTIONS.values()))
    if invention == "absent kind" and absent:
        return grammar.draw_fact(rng, rng.choice(absent))
    if invention == "other person" and borrowed:
        return rng.choice(borrowed)
    return _with_wrong_value(rng, answer[i])


def _with_wrong_value(rng: random.Random, fact: Fact) -> Fact:
    """The fact with one of its values changed."""
    values = dict(fact.values)
    slot = rng.choice(grammar.FACT_KINDS[fact.kind].slots)
    values[slot] = rng.choice(
        [choice for choice in grammar.CHOICES[slot] if choice != values[slot]]
    )
    return Fact(fact.kind, frozenset(values.items()))


@functools.lru_cache(maxsize=1 << 14)
def _read(prompt: str) -> tuple[str, Mapping[str, Collection[Fact]]]:
    """The person asked about, and what the passages say of each person."""
    match = PROMPT.fullmatch(prompt)
    statements = [grammar.parse(sentence) for sentence in grammar.split(match[1])] if match else []
    told: dict[str, set[Fact]] = {}
    for statement in statements:
        if statement is not None:
            told.setdefault(statement.subject, set()).add(statement.fact)
    if match is None or None in statements or match[2] not in told:
        raise ValueError(
            f"prompt {prompt!r} is not passages and a question about one of their people"
        )
    return match[2], told


def _verdict(prompt: str, completion: str) -> dict[str, float]:
    asked, told = _read(prompt)
    sentences = grammar.split(completion)
    who, unread, supported, covered = asked, 0, 0, set[Fact]()
    for sentence in sentences:
        statement = grammar.parse(sentence)
        if statement is None:
            unread += 1
            who = (NAME.findall(sentence) or [who])[-1]
            continue
        if statement.subject not in grammar.PRONOUNS:
            who = statement.subject
        elif statement.subject != PRONOUN_OF[who]:
            continue
        supporting = [fact for fact in told.get(who, ()) if fact.entails(statement.fact)]
        supported += bool(supporting)
        if who == asked:
            covered.update(supporting)
    count = len(sentences)
    return {
        "statements": float(count),
        "unsupported": float(count - supported),
        "hallucinated": float(supported < count),
        "coverage": len(covered) / len(told[asked]),
        "wellformed": float(count > 0 and unread == 0),
        "gold": supported / count - 1 if count else -1.0,
    }


def create(settings: Mapping[str, Any]) -> HallucinationTask:
    """Make the task from its settings."""
    return HallucinationTask(**settings)
