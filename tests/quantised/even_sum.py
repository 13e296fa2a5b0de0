"""A task for tests: a text is good if its tokens have an even sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class EvenSum:
    name = "even_sum"

    def splits(self, *arguments: Any) -> None:
        raise NotImplementedError("nothing is trained on this task")

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        return {"gold": [float(sum(ids) % 2 == 0) for ids in completion_ids]}


def create(settings: Mapping[str, Any]) -> EvenSum:
    return EvenSum()
