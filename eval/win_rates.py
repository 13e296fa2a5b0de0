"""How often one policy's completions are better than another's on the same prompts.

Gold judges which is better, and a tie counts half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dera.estimators import Array, Estimate, bootstrap_mean
from eval.judging import Objective
from eval.policy import Policy, find

TIE = 1e-9  # golds this close are equal: they are sums of the same few numbers


def win_rate_per_prompt(first: Array, second: Array) -> Array:
    """Return the share of pairs of completions that the first policy wins.

    Every completion of the first policy is compared with every one of the second on that prompt.

    Args:
        first, second: gold of each completion, shapes (prompts, n) and (prompts, m).

    Returns:
        Shape (prompts,), a half for each tie.
    """
    difference = first[:, :, None] - second[:, None, :]
    return np.where(np.abs(difference) <= TIE, 0.5, difference > 0).mean((1, 2))


def win_rate(
    first: Policy, second: Policy, resamples: int, seed: int, prompts: slice = slice(None)
) -> Estimate:
    """Return the win rate of the first policy over the second with its 95% interval over prompts.

    Raises:
        ValueError: if a policy was not sampled.
    """
    if first.gold is None or second.gold is None:
        raise ValueError(
            f"{first.kind} against {second.kind}: only policies that were sampled can be compared "
            "one by one; compare reference, retrained, dera or a baseline that was decoded"
        )
    rates = win_rate_per_prompt(first.gold[prompts], second.gold[prompts])
    return bootstrap_mean(rates, resamples, seed)


def matches(
    policies: list[Policy], name: str, objective: Objective
) -> Iterator[tuple[Policy, Policy]]:
    """Yield the pairs of policies of an objective that are compared.

    The reference, every retrained model and DeRa at every lam are compared with the reference.
    Where the objective has a default strength, they are also compared with the model retrained at
    it. DeRa at every lam from that anchor is also compared with DeRa at every lam from it.
    """
    reference = find(policies, "reference", objective=name)
    retrained = find(policies, "retrained", objective=name)
    dera = find(policies, "dera", objective=name)

    opponents = list(reference)
    realigned = []
    if objective.default_beta is not None:
        opponents += [policy for policy in retrained if policy.beta == objective.default_beta]
        realigned = [policy for policy in dera if policy.anchor == objective.default_beta]

    for policy in [*reference, *retrained, *dera]:
        for opponent in opponents:
            yield policy, opponent
    for first in realigned:
        for second in realigned:
            yield first, second
