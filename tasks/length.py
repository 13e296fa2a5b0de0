"""The paper's toy: summaries of a wanted length (gold 0 inside a range of tokens, -1 outside)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import corpora

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "any"


class LengthTask:
    """Summarise a document; what counts is nothing but the number of tokens. Works on any corpus.

    Args:
        min_tokens, max_tokens: both ends belong to the range; the end-of-sequence token does not count.
    """

    name = "length"
    version = 1

    def __init__(self, min_tokens: int, max_tokens: int):
        if not 1 <= min_tokens <= max_tokens:
            raise ValueError(
                f"min_tokens = {min_tokens} must be at least 1 and at most max_tokens = {max_tokens}"
            )
        self.min_tokens, self.max_tokens = min_tokens, max_tokens

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """The corpus's documents and summaries, phrased for the model."""
        return {name: _phrased(split) for name, split in corpora.load(corpus, files, seed).items()}

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Gold: 0 for each completion of min_tokens to max_tokens tokens, -1 for any other."""
        return {
            "gold": [
                0.0 if self.min_tokens <= len(ids) <= self.max_tokens else -1.0
                for ids in completion_ids
            ]
        }


def _phrased(split: Dataset) -> Dataset:
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "prompt": [f"{text}\nSummary:" for text in split["prompt"]],
            "completion": [f" {text}" for text in split["completion"]],
        }
    )


def create(settings: Mapping[str, Any]) -> LengthTask:
    """Make the task from its settings."""
    return LengthTask(**settings)
