"""Summaries of one sentence: gold is 0 for one short sentence with a full stop, else -1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import corpora

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "any"


class OneSentence:
    """Judges the number of sentences.

    Args:
        max_words: a sentence of more words is too long.
    """

    name = "one sentence"
    version = 1

    def __init__(self, *, max_words: int):
        if max_words < 1:
            raise ValueError(f"max_words = {max_words} must be at least 1")
        self.max_words = max_words

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Return the corpus's documents and summaries as they are."""
        return corpora.load(corpus, files, seed)

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Return `gold` and the number of full stops."""
        stops = [float(text.count(".")) for text in completions]
        return {"gold": [self._gold(text) for text in completions], "stops": stops}

    def _gold(self, text: str) -> float:
        one_sentence = text.count(".") == 1 and text.rstrip().endswith(".")
        return 0.0 if one_sentence and len(text.split()) <= self.max_words else -1.0


def create(settings: Mapping[str, Any]) -> OneSentence:
    """Make the task from its settings."""
    return OneSentence(**settings)
