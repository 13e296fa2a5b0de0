"""A policy as it is compared with others: its numbers for each prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from dera.estimators import Array
from eval import baselines

#: How often a model is run for a token; baselines declare theirs.
PASSES = {"reference": 1, "retrained": 1, "dera": 2}


@dataclass(frozen=True)
class Policy:
    """One policy of one objective, for one seed or for the mean of its seeds.

    Attributes:
        kind: reference, retrained, dera, mixture, optimum or the NAME of a baseline.
        objective: its `reward` is the reward of this objective.
        seed: the seed its aligned model was trained with, or "mean".
        beta: effective strength; None for the reference and for baselines.
        anchor: beta of the aligned model that dera, mixture and baselines start from.
        lam: mixing weight of dera and mixture.
        per_prompt: for each measure an array of shape (prompts,): `reward` (what the objective
            maximised), `gold`, `kl` (nats to the reference), `length` (tokens) and the task's own;
            NaN where a measure does not apply to a prompt.
        completions: how many completions the numbers come from.
        ess: effective sample size within a prompt, averaged over prompts; the number of samples
            where none is reweighted.
        gap: KL(sampler || exact mixture) for each prompt, shape (prompts,); mixtures only.
        gold: gold of each completion, shape (prompts, samples); sampled policies only.
        knob: what a baseline is turned by.
        log_normalizer: `log E_ref[exp(reward / beta)]` for each prompt, shape (prompts,); optima
            only. It is what training could reach at best, `max E[r] / beta - KL`.
        by_seed: for the mean over seeds, the same policy of each seed; empty for other policies.
    """

    kind: str
    objective: str
    seed: str
    beta: Fraction | None
    anchor: Fraction | None
    lam: Fraction | None
    per_prompt: dict[str, Array] = field(repr=False)
    completions: int
    ess: float
    gap: Array | None = field(default=None, repr=False)
    gold: Array | None = field(default=None, repr=False)
    knob: Fraction | None = None
    log_normalizer: Array | None = field(default=None, repr=False)
    by_seed: tuple[Policy, ...] = field(default=(), repr=False)


def find(policies: list[Policy], kind: str, seed: str = "mean", **fields: object) -> list[Policy]:
    """Return the policies of a kind and seed whose other fields have the given values.

    They are sorted by effective strength, the strongest regularisation first; policies without a
    strength come before all others.
    """
    chosen = []
    for policy in policies:
        matches = all(getattr(policy, name) == value for name, value in fields.items())
        if policy.kind == kind and policy.seed == seed and matches:
            chosen.append(policy)
    return sorted(chosen, key=lambda policy: policy.beta or float("inf"), reverse=True)


def together(quantity: str, *policies: Policy) -> list[Array]:
    """Return a measure of several policies, each as an array that can be added to the others.

    Args:
        quantity: the name of a measure in `per_prompt`.
        policies: means over seeds, or policies that have no seeds, such as the reference.

    Returns:
        For each policy an array of shape (seeds, prompts) over the seeds that all policies with
        seeds have in common, or of shape (1, prompts) where the policy has no seeds.

    Raises:
        ValueError: if the policies have no seed in common.
    """
    common = common_seeds(*policies)
    arrays = []
    for policy in policies:
        if not policy.by_seed:
            arrays.append(policy.per_prompt[quantity][None])
            continue
        of_seed = {member.seed: member.per_prompt[quantity] for member in policy.by_seed}
        arrays.append(np.stack([of_seed[seed] for seed in common]))
    return arrays


def common_seeds(*policies: Policy) -> list[str]:
    """Return the seeds that all policies with seeds have in common, sorted.

    Raises:
        ValueError: if there is none, although there are policies with seeds.
    """
    seeds = [{member.seed for member in policy.by_seed} for policy in policies if policy.by_seed]
    if not seeds:
        return []
    common = set.intersection(*seeds)
    if not common:
        kinds = ", ".join(policy.kind for policy in policies)
        raise ValueError(f"{kinds}: these policies have no training seed in common")
    return sorted(common, key=int)


def passes(policy: Policy) -> int | None:
    """Return how often a model is run for a token; None where no such policy is decoded."""
    if policy.kind in PASSES:
        return PASSES[policy.kind]
    declared = baselines.passes_by_kind().get(policy.kind)
    return int(policy.knob or 0) if declared == "knob" else declared
