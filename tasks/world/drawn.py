"""Draw splits from a seed. No prompt occurs twice, so no held-out prompt was trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

#: Drawing is given up when more prompts than this many times the size of a split were repeats.
MAX_REPEATS = 1000


def splits(
    draw: Callable[[random.Random], tuple[str, str]], sizes: Mapping[str, int], seed: str
) -> dict[str, Dataset]:
    """Draw one Dataset with columns `prompt` and `completion` for each split.

    Args:
        draw: draws one prompt and its demonstration.
        sizes: the number of rows of each split.
        seed: seed of the random numbers.

    Raises:
        ValueError: if there are too few different prompts.
    """
    from datasets import Dataset

    rng = random.Random(seed)
    seen: set[str] = set()
    datasets: dict[str, Dataset] = {}
    for split, size in sizes.items():
        rows: dict[str, list[str]] = {"prompt": [], "completion": []}
        repeated = 0
        while len(rows["prompt"]) < size:
            # Draw until the prompt is new, unless new ones have become too rare.
            prompt, completion = draw(rng)
            if prompt in seen:
                repeated += 1
                if repeated > MAX_REPEATS * size:
                    raise ValueError(
                        f"corpus.documents.{split} = {size}: the task does not have that many "
                        "different prompts; ask for fewer"
                    )
                continue
            seen.add(prompt)
            rows["prompt"].append(prompt)
            rows["completion"].append(completion)
        datasets[split] = Dataset.from_dict(rows)
    return datasets
