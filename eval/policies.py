"""From the table of completions to the policies the study compares, each as numbers per prompt.

Sampled: the reference, retrained(beta), dera(anchor, lam). Reached by reweighting: the true optimum at beta (from the reference)
and the exact mixture at lam (from the sampler). Seeds are kept apart, and averaged within each prompt for `seed = "mean"`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array

QUANTITIES = ("reward", "kl", "length")


@dataclass(frozen=True)
class Policy:
    """One policy's numbers per prompt.

    `beta` is the effective strength (None for the reference), `anchor` the beta of the adapter that dera and mixture start from.
    `per_prompt` has `reward`, `kl` (nats to the reference) and `length` (tokens), each of shape (prompts,).
    `ess` is the effective sample size within a prompt, averaged over prompts: all samples where none is reweighted;
    `gap` is KL(sampler || exact mixture) per prompt, for mixtures.
    """

    kind: str
    objective: str | None
    seed: str
    beta: Fraction | None
    anchor: Fraction | None
    lam: Fraction | None
    per_prompt: dict[str, Array] = field(repr=False)
    completions: int
    ess: float
    gap: Array | None = field(default=None, repr=False)


def from_completions(table: pd.DataFrame, betas: Iterable[Fraction]) -> list[Policy]:
    """All policies of the study; `betas` are the strengths to give the optimum at."""
    reference = table[table["policy"] == "reference"]
    result = [_sampled("reference", reference), *(_optimum(reference, beta) for beta in sorted(set(betas)))]
    keys = ["objective", "adapter_beta", "seed"]
    for labels, rows in table[table["policy"] == "retrained"].groupby(keys, sort=True):
        result.append(_sampled("retrained", rows, *_strengths(labels, Fraction(1)), kind_has_anchor=False))
    for labels, rows in table[table["policy"] == "dera"].groupby([*keys, "lam"], sort=False):
        strengths = _strengths(labels[:3], Fraction(labels[3]))
        result.append(_sampled("dera", rows, *strengths))
        result.append(_mixture(rows, *strengths))
    return result + _seed_means(result)


def find(policies: list[Policy], kind: str, seed: str = "mean", **wanted: object) -> list[Policy]:
    """The policies of a kind and seed whose other fields have the wanted values, weakest regularisation last."""
    found = [
        policy
        for policy in policies
        if policy.kind == kind and policy.seed == seed and all(getattr(policy, k) == v for k, v in wanted.items())
    ]
    return sorted(found, key=lambda policy: policy.beta or float("inf"), reverse=True)


def _strengths(labels: tuple, lam: Fraction) -> tuple[str, str, Fraction, Fraction]:
    objective, adapter_beta, seed = labels
    return str(objective), str(int(seed)), Fraction(adapter_beta), lam


def _grid(rows: pd.DataFrame, column: str) -> Array:
    """The column as an array of shape (prompts, samples)."""
    return rows.pivot(index="prompt_id", columns="sample_id", values=column).to_numpy(float)


def _sampled(
    kind: str,
    rows: pd.DataFrame,
    objective: str | None = None,
    seed: str = "mean",
    adapter_beta: Fraction | None = None,
    lam: Fraction | None = None,
    kind_has_anchor: bool = True,
) -> Policy:
    columns = {"reward": "reward", "kl": "log_ratio", "length": "length"}
    return Policy(
        kind=kind,
        objective=objective,
        seed=seed,
        beta=effective_beta(adapter_beta, lam),
        anchor=adapter_beta if kind_has_anchor else None,
        lam=lam if kind_has_anchor else None,
        per_prompt={name: _grid(rows, column).mean(-1) for name, column in columns.items()},
        completions=len(rows),
        ess=len(rows) / rows["prompt_id"].nunique(),
    )


def effective_beta(adapter_beta: Fraction | None, lam: Fraction | None) -> Fraction | None:
    """`adapter_beta / lam`, None where lam is 0 (the reference itself)."""
    return None if not lam or adapter_beta is None else adapter_beta / lam


def _optimum(reference: pd.DataFrame, beta: Fraction) -> Policy:
    """`pi_ref * exp(r / beta)` (the solution of the KL-regularised objective, which the paper starts from), from samples of the reference."""
    log_weights = _grid(reference, "reward") / float(beta)
    return _reweighted("optimum", reference, log_weights, log_weights, beta=beta, objective=None, seed="mean")


def _mixture(rows: pd.DataFrame, objective: str, seed: str, anchor: Fraction, lam: Fraction) -> Policy:
    """`pi_ref^(1-lam) * pi_aligned^lam` (paper, Proposition 1), from samples of the sampler at that lam."""
    log_ratio = float(lam) * (_grid(rows, "logp_aligned") - _grid(rows, "logp_reference"))
    beta = effective_beta(anchor, lam)
    log_weights = _grid(rows, "log_weight")
    gap = estimators.approximation_gap(log_weights)
    labels = dict(objective=objective, seed=seed, beta=beta, anchor=anchor, lam=lam, gap=gap)
    return _reweighted("mixture", rows, log_ratio, log_weights, **labels)


def _reweighted(kind: str, rows: pd.DataFrame, log_ratio: Array, log_weights: Array, **labels) -> Policy:
    per_prompt = {name: estimators.reweighted_mean(_grid(rows, name), log_weights) for name in ("reward", "length")}
    per_prompt["kl"] = estimators.kl_to_reference(log_ratio, log_weights)
    ess = float(estimators.effective_sample_size(log_weights).mean())
    return Policy(kind=kind, per_prompt=per_prompt, completions=len(rows), ess=ess, **{"anchor": None, "lam": None, **labels})


def _seed_means(policies: list[Policy]) -> list[Policy]:
    """One policy for each that several seeds were trained for, averaged over seeds within each prompt."""
    groups: dict[tuple, list[Policy]] = {}
    for policy in policies:
        if policy.seed != "mean":
            key = (policy.kind, policy.objective, policy.beta, policy.anchor, policy.lam)
            groups.setdefault(key, []).append(policy)
    return [
        Policy(
            kind=kind,
            objective=objective,
            seed="mean",
            beta=beta,
            anchor=anchor,
            lam=lam,
            per_prompt={name: np.mean([p.per_prompt[name] for p in members], axis=0) for name in QUANTITIES},
            completions=sum(p.completions for p in members),
            ess=float(np.mean([p.ess for p in members])),
            gap=None if members[0].gap is None else np.mean([p.gap for p in members], axis=0),
        )
        for (kind, objective, beta, anchor, lam), members in groups.items()
    ]
