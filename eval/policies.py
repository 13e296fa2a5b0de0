"""Make the policies that are compared, from a task's table of completions.

Every policy belongs to an objective. The reference and the policies that reweight its completions
occur once for each objective. There is a policy for each seed, and one with `seed = "mean"` that
averages over seeds within each prompt.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from eval import baselines, reweighting
from eval.columns import as_numbers, effective_beta
from eval.completions import LABELS, applicable, grid, measures, weighted
from eval.judging import Judging
from eval.policy import Policy, common_seeds, find, passes, together

__all__ = [
    "LABELS",
    "Policy",
    "applicable",
    "as_numbers",
    "common_seeds",
    "effective_beta",
    "find",
    "from_completions",
    "grid",
    "measures",
    "passes",
    "together",
    "weighted",
]


def from_completions(table: pd.DataFrame, judging: Judging) -> list[Policy]:
    """Return all policies of a task.

    Args:
        table: scored completions.
        judging: the objectives, and the baselines that reweight completions of the reference.
    """
    policies = []
    for name, objective in judging.objectives.items():
        rows = table.assign(reward=weighted(table, objective.reward))
        reference = rows[rows["kind"] == "reference"]
        trained = rows[rows["objective"] == name]
        betas = sorted(set(objective.betas)) if objective.optimum == "known" else []

        policies.append(_sampled("reference", reference, name))
        policies += [reweighting.optimum(reference, name, beta) for beta in betas]
        policies += _reweighted_baselines(reference, name, judging)
        policies += _retrained(trained, name)
        policies += _dera_and_mixtures(trained, name)
        policies += _decoded_baselines(trained, name)
    return policies + _seed_means(policies)


def _retrained(rows: pd.DataFrame, objective: str) -> list[Policy]:
    """Return the retrained models, one for each beta and seed."""
    policies = []
    chosen = rows[rows["kind"] == "retrained"]
    for (beta, seed), group in chosen.groupby(["beta", "seed"], sort=True):
        policies.append(
            _sampled("retrained", group, objective, str(int(seed)), beta=Fraction(beta))
        )
    return policies


def _dera_and_mixtures(rows: pd.DataFrame, objective: str) -> list[Policy]:
    """Return DeRa and the exact mixture for each anchor, seed and lam."""
    policies = []
    chosen = rows[rows["kind"] == "dera"]
    keys = ["anchor", "seed", "lam"]
    for (written_anchor, seed, written_lam), group in chosen.groupby(keys, sort=False):
        anchor = Fraction(written_anchor)
        lam = Fraction(written_lam)
        number = str(int(seed))
        beta = effective_beta(anchor, lam)
        policies.append(
            _sampled("dera", group, objective, number, beta=beta, anchor=anchor, lam=lam)
        )
        policies.append(reweighting.mixture(group, objective, number, anchor, lam))
    return policies


def _reweighted_baselines(
    reference: pd.DataFrame, objective: str, judging: Judging
) -> list[Policy]:
    """Return the baselines that reweight completions of the reference, at each of their knobs."""
    policies = []
    for name, knobs in judging.reweighted_for(objective).items():
        module = baselines.load(name)
        policies += [reweighting.baseline(reference, objective, module, knob) for knob in knobs]
    return policies


def _decoded_baselines(rows: pd.DataFrame, objective: str) -> list[Policy]:
    """Return the baselines that were decoded; no other completions have a knob."""
    policies = []
    chosen = rows[rows["knob"].notna()]
    keys = ["anchor", "seed", "kind", "knob"]
    for (anchor, seed, kind, knob), group in chosen.groupby(keys, sort=False):
        policies.append(
            _sampled(
                kind,
                group,
                objective,
                str(int(seed)),
                anchor=Fraction(anchor),
                knob=Fraction(knob),
            )
        )
    return policies


def _sampled(
    kind: str,
    rows: pd.DataFrame,
    objective: str,
    seed: str = "mean",
    beta: Fraction | None = None,
    anchor: Fraction | None = None,
    lam: Fraction | None = None,
    knob: Fraction | None = None,
) -> Policy:
    """Return the policy that completions were drawn from."""
    per_prompt = {name: grid(rows, name).mean(-1) for name in measures(rows)}
    per_prompt["kl"] = grid(rows, "log_ratio").mean(-1)
    return Policy(
        kind=kind,
        objective=objective,
        seed=seed,
        beta=beta,
        anchor=anchor,
        lam=lam,
        per_prompt=per_prompt,
        completions=len(rows),
        ess=len(rows) / rows["prompt_id"].nunique(),
        gold=grid(rows, "gold"),
        knob=knob,
    )


def _seed_means(policies: list[Policy]) -> list[Policy]:
    """Return the mean over seeds of each policy that has seeds."""
    groups: dict[tuple, list[Policy]] = {}
    for policy in policies:
        if policy.seed != "mean":
            strengths = (policy.beta, policy.anchor, policy.lam, policy.knob)
            groups.setdefault((policy.kind, policy.objective, *strengths), []).append(policy)
    return [_mean(seeds) for seeds in groups.values()]


def _mean(seeds: list[Policy]) -> Policy:
    """Average a policy over its seeds within each prompt; put their completions side by side."""
    first = seeds[0]
    per_prompt = {}
    for name in first.per_prompt:
        per_prompt[name] = np.mean([policy.per_prompt[name] for policy in seeds], axis=0)
    gap = None if first.gap is None else np.mean([policy.gap for policy in seeds], axis=0)
    gold = None
    if first.gold is not None:
        gold = np.concatenate([policy.gold for policy in seeds], axis=1)
    return Policy(
        kind=first.kind,
        objective=first.objective,
        seed="mean",
        beta=first.beta,
        anchor=first.anchor,
        lam=first.lam,
        per_prompt=per_prompt,
        completions=sum(policy.completions for policy in seeds),
        ess=float(np.mean([policy.ess for policy in seeds])),
        gap=gap,
        gold=gold,
        knob=first.knob,
        by_seed=tuple(seeds),
    )
