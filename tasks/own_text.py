"""Prompts of a user's own, which are left as they are; gold judges the length of completions.

What else is good about a completion only the user knows. A module with another method `judge` says
it: see `docs/own-data.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks import corpora
from tasks.length import LengthTask

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "any"


class OwnTextTask(LengthTask):
    """Answer prompts from any corpus; nothing is written before or after them.

    Args:
        min_tokens, max_tokens: the range of lengths with the best gold, as for `LengthTask`.
    """

    name = "own_text"
    version = 1

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Return the corpus's prompts and completions as they are."""
        return corpora.load(corpus, files, seed)


def create(settings: Mapping[str, Any]) -> OwnTextTask:
    """Make the task from its settings."""
    return OwnTextTask(**settings)
