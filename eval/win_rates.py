"""How often one policy's completions are better than another's on the same prompts.

Gold judges which is better, and a tie counts half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dera.estimators import Array
from eval.judging import Objective
from eval.policy import Policy, common_seeds, find
from eval.statistics import Measurement, measure

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


def win_rates_by_seed(first: Policy, second: Policy) -> Array:
    """Return the win rate of the first policy over the second for each seed and prompt.

    Two policies with seeds are compared seed by seed. A policy without seeds, such as the
    reference, is compared with every seed of the other.

    Args:
        first, second: means over seeds, or policies without seeds.

    Returns:
        shape (seeds, prompts), or (1, prompts) where neither has seeds.

    Raises:
        ValueError: if a policy was not sampled.
    """
    if first.gold is None or second.gold is None:
        raise ValueError(
            f"{first.kind} against {second.kind}: only policies that were sampled can be compared "
            "one by one; compare reference, retrained, dera or a baseline that was decoded"
        )
    common = common_seeds(first, second)
    if not common:
        return win_rate_per_prompt(first.gold, second.gold)[None]
    rates = []
    for seed in common:
        rates.append(win_rate_per_prompt(_gold_of(first, seed), _gold_of(second, seed)))
    return np.stack(rates)


def win_rate(first: Policy, second: Policy) -> Measurement:
    """Return the win rate of the first policy over the second.

    Raises:
        ValueError: if a policy was not sampled.
    """
    return measure(win_rates_by_seed(first, second))


def _gold_of(policy: Policy, seed: str) -> Array:
    """Return the gold of each completion of one seed; that of the policy where it has no seeds."""
    if not policy.by_seed:
        assert policy.gold is not None
        return policy.gold
    (member,) = [member for member in policy.by_seed if member.seed == seed]
    assert member.gold is not None
    return member.gold


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
