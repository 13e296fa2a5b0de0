"""Splits drawn from a seed, in which no prompt occurs twice: held-out prompts are held out."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

TRIES = 1000


def splits(
    draw: Callable[[random.Random], tuple[str, str]], sizes: Mapping[str, int], seed: str
) -> dict[str, Dataset]:
    """One Dataset with columns `prompt` and `completion` for each split.

    Args:
        draw: draws one prompt and its demonstration.
        sizes: rows of each split.
        seed: what the random numbers start from.

    Raises:
        ValueError: if there are not so many different prompts.
    """
    from datasets import Dataset

    rng, seen, result = random.Random(seed), set[str](), {}
    for split, size in sizes.items():
        rows: dict[str, list[str]] = {"prompt": [], "completion": []}
        repeated = 0
        while len(rows["prompt"]) < size:
            prompt, completion = draw(rng)
            if prompt in seen:
                repeated += 1
                if repeated > TRIES * size:
                    raise ValueError(
                        f"corpus.documents.{split} = {size}: the task has not so many different prompts; ask for fewer"
                    )
                continue
            seen.add(prompt)
            rows["prompt"].append(prompt)
            rows["completion"].append(completion)
        result[split] = Dataset.from_dict(rows)
    return result
