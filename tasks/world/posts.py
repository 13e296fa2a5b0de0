"""Posts about a person, and the sentences of their summaries, as the grammar understands them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from tasks.world import grammar
from tasks.world.chit_chat import NOISE_SENTENCES
from tasks.world.grammar import Fact


@dataclass(frozen=True)
class Post:
    """A post as it was understood: whom it is about, its facts, and its sentences of chit-chat."""

    name: str
    pronoun: str
    facts: tuple[Fact, ...]
    noise: frozenset[str]


@dataclass(frozen=True)
class Claim:
    """What a sentence of a summary says.

    Attributes:
        about: the name of the person it speaks of, which is "" for chit-chat.
        said: the fact that it states, or the sentence itself if it is chit-chat.
        true: whether the post says so.
    """

    about: str
    said: Fact | str
    true: bool


@functools.lru_cache(maxsize=1 << 16)
def read_post(prompt: str) -> Post:
    """Read a prompt back.

    Raises:
        ValueError: if it is not a post of this task.
    """
    match = re.fullmatch(r"Post: (.*)\nTL;DR:", prompt)
    sentences = grammar.split(match[1]) if match else []
    noise = frozenset(sentence for sentence in sentences if sentence in NOISE_SENTENCES)
    statements = [statement for sentence in sentences if (statement := grammar.parse(sentence))]
    unread = len(sentences) - len(statements) - len(noise)
    if not statements or unread > 0 or statements[0].subject not in grammar.NAMES:
        raise ValueError(f"not a post of the task summarization: {prompt!r}")
    name = statements[0].subject
    pronoun = next(pronoun for pronoun, names in grammar.PEOPLE.items() if name in names)
    return Post(name, pronoun, tuple(statement.fact for statement in statements), noise)


def read_sentence(sentence: str, post: Post) -> Claim | None:
    """Return what a sentence of a summary claims, or None if the grammar cannot read it."""
    if sentence in NOISE_SENTENCES:
        return Claim(about="", said=sentence, true=sentence in post.noise)
    statement = grammar.parse(sentence)
    if statement is None:
        return None
    if statement.subject not in (post.name, post.pronoun):
        return Claim(about=statement.subject, said=statement.fact, true=False)
    true = grammar.entailed(statement.fact, post.facts)
    return Claim(about=post.name, said=statement.fact, true=true)


def same_claim(claim: Claim, earlier: Claim) -> bool:
    """Say whether two claims are the same.

    They are the same if they are equal, or if one states tersely what the other states in detail.
    Both must be about the same person, and both true or both false.
    """
    if (claim.about, claim.true) != (earlier.about, earlier.true):
        return False
    if isinstance(claim.said, Fact) and isinstance(earlier.said, Fact):
        return claim.said.entails(earlier.said) or earlier.said.entails(claim.said)
    return claim.said == earlier.said
