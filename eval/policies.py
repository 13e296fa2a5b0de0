"""From a task's table of completions to the policies that are compared, each as numbers per prompt.

Sampled: the reference, retrained(beta), dera(anchor, lam), and the baselines (anchor, knob), DeRa's baselines. Reached by reweighting: the true
optimum at beta and the best of n (from the reference) and the exact mixture at lam (from the sampler). Every policy belongs to an objective, whose `reward` is what that objective maximised; the
reference and the optima are there once for each. Seeds are kept apart, and averaged within each prompt for `seed = "mean"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from eval import best_of_n

#: Columns of the table that are no measure of a completion.
LABELS = {
    "prompt_id", "sample_id", "lam", "completion", "finished", "logp_policy", "logp_reference", "logp_aligned", "log_weight", "policy",
    "task", "objective", "adapter_beta", "seed", "method", "knob", "lams",
}  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """One policy's numbers per prompt.

    `beta` is the effective strength (None for the reference), `anchor` the beta of the adapter that dera, mixture and baselines start from, `knob`
    what a baseline is turned by (eval/baselines.py; of the best of n, n).
    `per_prompt` has an array of shape (prompts,) for each measure: `reward` (what the objective maximised), `gold`, `kl` (nats to the
    reference), `length` (tokens) and the task's own, NaN where a measure does not apply to a prompt. `gold` has the
    verdict on each completion, shape (prompts, samples), for policies that were sampled. `ess` is the effective sample size within a
    prompt, averaged over prompts: all samples where none is reweighted; `gap` is KL(sampler || exact mixture) per prompt, for mixtures.
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


def from_completions(
    table: pd.DataFrame, objectives: Mapping[str, Mapping[str, Any]]
) -> list[Policy]:
    """All policies of a task.

    Args:
        table: scored completions.
        objectives: for each its `reward` (a column of the table, or weights of several), and its `betas` for the optima, where `optimum` is "known"; and
            `best_of`, the n of the best of n, where baselines were decoded for it.
    """
    result = []
    for name, settings in objectives.items():
        rows = table.assign(reward=weighted(table, settings["reward"]))
        optima = (
            {Fraction(beta) for beta in settings["betas"]}
            if settings["optimum"] == "known"
            else set()
        )
        result += _of_objective(rows, name, sorted(optima), settings.get("best_of", []))
    return result + _seed_means(result)


def weighted(table: pd.DataFrame, reward: str | Mapping[str, float]) -> pd.Series:
    """The column that a reward names, or the weighted sum of several."""
    if isinstance(reward, str):
        return table[reward]
    return sum(
        (weight * table[name] for name, weight in reward.items()), start=pd.Series(0.0, table.index)
    )


def _of_objective(
    table: pd.DataFrame, name: str, betas: list[Fraction], best_of: Iterable[int]
) -> list[Policy]:
    reference, mine = table[table["policy"] == "reference"], table[table["objective"] == name]
    result = [
        _sampled("reference", reference, name),
        *(_optimum(reference, name, beta) for beta in betas),
    ]
    result += [_best_of(reference, name, n) for n in best_of]
    keys = ["adapter_beta", "seed"]
    for (beta, seed), rows in mine[mine["policy"] == "retrained"].groupby(keys, sort=True):
        result.append(_sampled("retrained", rows, name, str(int(seed)), Fraction(beta)))
    for (beta, seed, lam), rows in mine[mine["policy"] == "dera"].groupby(
        [*keys, "lam"], sort=False
    ):
        strengths = (name, str(int(seed)), Fraction(beta), Fraction(lam))
        result += [_sampled("dera", rows, *strengths), _mixture(rows, *strengths)]
    baselines = mine[mine["policy"] == "baseline"]
    if len(baselines):  # without any, the table has no such columns
        for (beta, seed, method, knob), rows in baselines.groupby(
            [*keys, "method", "knob"], sort=False
        ):
            result.append(
                _sampled(method, rows, name, str(int(seed)), Fraction(beta), knob=Fraction(knob))
            )
    return result


def find(policies: list[Policy], kind: str, seed: str = "mean", **wanted: object) -> list[Policy]:
    """The policies of a kind and seed whose other fields have the wanted values, weakest regularisation last."""
    found = [
        policy
        for policy in policies
        if policy.kind == kind
        and policy.seed == seed
        and all(getattr(policy, k) == v for k, v in wanted.items())
    ]
    return sorted(found, key=lambda policy: policy.beta or float("inf"), reverse=True)


def measures(table: pd.DataFrame) -> list[str]:
    """Names of the columns that measure a completion."""
    return [name for name in table.columns if name not in LABELS and name != "log_ratio"]


def as_numbers(strengths: pd.Series) -> list[float | None]:
    """A column of strengths, which are kept as exact fractions, as numbers for a table."""
    return [None if pd.isna(strength) else float(Fraction(strength)) for strength in strengths]


def applicable(values: Array) -> Array:
    """The numbers of the prompts that a measure applies to."""
    return values[~np.isnan(values)]


def grid(rows: pd.DataFrame, column: str) -> Array:
    """The column as an array of shape (prompts, samples)."""
    return rows.pivot(index="prompt_id", columns="sample_id", values=column).to_numpy(float)


def _sampled(
    kind: str,
    rows: pd.DataFrame,
    objective: str,
    seed: str = "mean",
    adapter_beta: Fraction | None = None,
    lam: Fraction | None = None,
    knob: Fraction | None = None,
) -> Policy:
    trained = lam is None and knob is None
    per_prompt = {name: grid(rows, name).mean(-1) for name in measures(rows)}
    return Policy(
        kind=kind,
        objective=objective,
        seed=seed,
        beta=adapter_beta if trained else effective_beta(adapter_beta, lam),
        anchor=None if trained else adapter_beta,
        lam=lam,
        per_prompt={**per_prompt, "kl": grid(rows, "log_ratio").mean(-1)},
        completions=len(rows),
        ess=len(rows) / rows["prompt_id"].nunique(),
        gold=grid(rows, "gold"),
        knob=knob,
    )


def effective_beta(adapter_beta: Fraction | None, lam: Fraction | None) -> Fraction | None:
    """`adapter_beta / lam`, None where lam is 0 (the reference itself) or there is none."""
    return adapter_beta / lam if lam and adapter_beta is not None else None


def _optimum(reference: pd.DataFrame, objective: str, beta: Fraction) -> Policy:
    """`pi_ref * exp(r / beta)` (the solution of the KL-regularised objective, which the paper starts from), from samples of the reference."""
    log_weights = grid(reference, "reward") / float(beta)
    return _reweighted(
        "optimum", reference, log_weights, log_weights, objective=objective, beta=beta, seed="mean"
    )


def _best_of(reference: pd.DataFrame, objective: str, n: int) -> Policy:
    """The best by reward of n completions of the reference, from its samples."""
    rewards = grid(reference, "reward")
    weights = best_of_n.weights(rewards, n)
    per_prompt = {name: (weights * grid(reference, name)).sum(-1) for name in measures(reference)}
    return Policy(
        kind="best-of-n",
        objective=objective,
        seed="mean",
        beta=None,
        anchor=None,
        lam=None,
        per_prompt={**per_prompt, "kl": best_of_n.kl(rewards, n)},
        completions=len(reference),
        ess=float((1 / (weights**2).sum(-1)).mean()),
        knob=Fraction(n),
    )


def _mixture(
    rows: pd.DataFrame, objective: str, seed: str, anchor: Fraction, lam: Fraction
) -> Policy:
    """`pi_ref^(1-lam) * pi_aligned^lam` (paper, Proposition 1), from samples of the sampler at that lam."""
    log_ratio = float(lam) * (grid(rows, "logp_aligned") - grid(rows, "logp_reference"))
    log_weights = grid(rows, "log_weight")
    gap = estimators.approximation_gap(log_weights)
    beta = effective_beta(anchor, lam)
    return _reweighted(
        "mixture",
        rows,
        log_ratio,
        log_weights,
        objective=objective,
        seed=seed,
        beta=beta,
        anchor=anchor,
        lam=lam,
        gap=gap,
    )


def _reweighted(
    kind: str, rows: pd.DataFrame, log_ratio: Array, log_weights: Array, **labels: Any
) -> Policy:
    per_prompt = {
        name: estimators.reweighted_mean(grid(rows, name), log_weights) for name in measures(rows)
    }
    per_prompt["kl"] = estimators.kl_to_reference(log_ratio, log_weights)
    ess = float(estimators.effective_sample_size(log_weights).mean())
    return Policy(
        kind=kind,
        per_prompt=per_prompt,
        completions=len(rows),
        ess=ess,
        **{"anchor": None, "lam": None, **labels},
    )


def _seed_means(policies: list[Policy]) -> list[Policy]:
    """One policy for each that was trained, averaged over its seeds within each prompt; all seeds' completions side by side."""
    groups: dict[tuple, list[Policy]] = {}
    for policy in policies:
        if policy.seed != "mean":
            key = (
                policy.kind,
                policy.objective,
                policy.beta,
                policy.anchor,
                policy.lam,
                policy.knob,
            )
            groups.setdefault(key, []).append(policy)
    return [
        Policy(
            kind=kind,
            objective=objective,
            seed="mean",
            beta=beta,
            anchor=anchor,
            lam=lam,
            per_prompt={
                name: np.mean([p.per_prompt[name] for p in members], axis=0)
                for name in members[0].per_prompt
            },
            completions=sum(p.completions for p in members),
            ess=float(np.mean([p.ess for p in members])),
            gap=None if members[0].gap is None else np.mean([p.gap for p in members], axis=0),
            gold=None
            if members[0].gold is None
            else np.concatenate([p.gold for p in members], axis=1),
            knob=knob,
        )
        for (kind, objective, beta, anchor, lam, knob), members in groups.items()
    ]
