"""Choosing a policy on one half of the evidence and measuring it on the other.

The choice for a training seed is made by the other seeds, on the first half of the held-out
prompts. What was chosen is measured with that seed, on the second half. So no number that chose a
policy also measures it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dera.estimators import Array


def choose(scores: Sequence[Array]) -> list[int]:
    """Return for each seed the candidate that the other seeds prefer.

    Args:
        scores: for each candidate an array of shape (seeds, prompts); more is better. The first
            half of the prompts decides.

    Returns:
        The number of a candidate for each seed. A single seed chooses for itself.
    """
    half = first_half(scores[0].shape[1])
    by_seed = np.stack([np.nanmean(score[:, half], axis=1) for score in scores])
    seeds = by_seed.shape[1]
    if seeds == 1:
        return [int(by_seed[:, 0].argmax())]
    chosen = []
    for seed in range(seeds):
        of_others = np.delete(by_seed, seed, axis=1)
        chosen.append(int(of_others.mean(axis=1).argmax()))
    return chosen


def of_chosen(values: Sequence[Array], chosen: Sequence[int]) -> Array:
    """Return each seed's values of the candidate chosen for it, on the second half of the prompts.

    Args:
        values: for each candidate an array of shape (seeds, prompts).
        chosen: as `choose` returns it.

    Returns:
        shape (seeds, prompts of the second half).
    """
    half = second_half(values[0].shape[1])
    return np.stack([values[candidate][seed, half] for seed, candidate in enumerate(chosen)])


def first_half(prompts: int) -> slice:
    """Return the prompts on which policies are chosen."""
    return slice(0, prompts // 2)


def second_half(prompts: int) -> slice:
    """Return the prompts on which what was chosen is measured."""
    return slice(prompts // 2, None)
