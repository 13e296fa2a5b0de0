"""The paper's toy task: summaries within a range of lengths (gold 0 inside it, -1 outside)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import corpora

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "any"


class LengthTask:
    """Summarise a document from any corpus; only the number of tokens of the summary counts.

    Args:
        min_tokens, max_tokens: the range of lengths with the best gold. Both ends belong to it. The
            end-of-sequence token does not count.
    """

    name = "length"
    version = 1

    def __init__(self, min_tokens: int, max_tokens: int):
        if not 1 <= min_tokens <= max_tokens:
            raise ValueError(
                f"min_tokens = {min_tokens} must be at least 1 and at most "
                f"max_tokens = {max_tokens}"
            )
        self.min_tokens = min_tokens
        self.max_tokens = max_tokens

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Return the corpus's documents and summaries, phrased as prompts and completions."""
        return {name: _phrased(split) for name, split in corpora.load(corpus, files, seed).items()}

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Return `gold`: 0 for a completion of min_tokens to max_tokens tokens, -1 for others."""
        in_range = [self.min_tokens <= len(ids) <= self.max_tokens for ids in completion_ids]
        return {"gold": [0.0 if good else -1.0 for good in in_range]}


def _phrased(split: Dataset) -> Dataset:
    """Ask for a summary after each document, and let each summary follow a space."""
    from datasets import Dataset

    prompts = [f"{text.strip()}\nSummary:" for text in split["prompt"]]
    completions = [f" {text.strip()}" for text in split["completion"]]
    return Dataset.from_dict({"prompt": prompts, "completion": completions})


def create(settings: Mapping[str, Any]) -> LengthTask:
    """Make the task from its settings."""
    return LengthTask(**settings)
