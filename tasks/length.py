"""The paper's toy: summaries of a wanted length (reward 0 inside a range of tokens, -1 outside)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class LengthTask:
    """Summarise a document; the reward looks at nothing but the number of tokens.

    Args:
        min_tokens, max_tokens: both ends belong to the range; the end-of-sequence token does not count.
    """

    name = "length"
    version = 1

    def __init__(self, min_tokens: int, max_tokens: int):
        self.min_tokens, self.max_tokens = min_tokens, max_tokens

    def format_prompt(self, document: str) -> str:
        return f"{document}\nSummary:"

    def format_completion(self, summary: str) -> str:
        return f" {summary}"

    def reward(self, prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]) -> list[float]:
        """0 for each completion of min_tokens to max_tokens tokens, -1 for any other."""
        return [0.0 if self.min_tokens <= len(ids) <= self.max_tokens else -1.0 for ids in completion_ids]


def create(settings: dict[str, Any]) -> LengthTask:
    """Make the task from the config's `task` section."""
    return LengthTask(settings["min_tokens"], settings["max_tokens"])
