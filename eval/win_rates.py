"""How often one policy's completions are better than another's on the same prompts, judged by gold, ties counted half."""

from __future__ import annotations

import numpy as np

from dera.estimators import Array, Estimate, bootstrap_mean
from eval.policies import Policy

TIE = 1e-9  # golds this close are equal: they are sums of the same few numbers


def win_rate_per_prompt(first: Array, second: Array) -> Array:
    """Share of pairs of completions that the first policy wins.

    Args:
        first, second: gold of each completion, shapes (prompts, n) and (prompts, m); any two completions of a prompt are compared.

    Returns:
        Shape (prompts,), a half for each tie.
    """
    difference = first[:, :, None] - second[:, None, :]
    return np.where(np.abs(difference) <= TIE, 0.5, difference > 0).mean((1, 2))


def win_rate(
    first: Policy, second: Policy, resamples: int, seed: int, prompts: slice = slice(None)
) -> Estimate:
    """Win rate of the first policy over the second with its 95% interval over prompts.

    Raises:
        ValueError: if a policy was not sampled.
    """
    if first.gold is None or second.gold is None:
        raise ValueError(
            f"a {first.kind} against a {second.kind}: only policies that were sampled can be compared one by one"
        )
    return bootstrap_mean(
        win_rate_per_prompt(first.gold[prompts], second.gold[prompts]), resamples, seed
    )
