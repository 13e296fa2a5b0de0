"""Summaries of one sentence: gold is 0 for one sentence that ends with a full stop, and -1 for anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import corpora

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "any"


class OneSentence:
    """Judges the number of sentences. Args: `most_words`, a sentence of more is too long."""

    name = "one sentence"
    version = 1

    def __init__(self, *, most_words: int):
        if most_words < 1:
            raise ValueError(f"most_words = {most_words} must be at least 1")
        self.most_words = most_words

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """The corpus's documents and summaries, as they are."""
        return corpora.load(corpus, files, seed)

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """`gold`, and the number of full stops."""
        stops = [float(text.count(".")) for text in completions]
        good = [
            text.rstrip().endswith(".") and count == 1 and len(text.split()) <= self.most_words
            for text, count in zip(completions, stops, strict=True)
        ]
        return {"gold": [0.0 if one else -1.0 for one in good], "stops": stops}


def create(settings: Mapping[str, Any]) -> OneSentence:
    """Make the task from its settings."""
    return OneSentence(**settings)
