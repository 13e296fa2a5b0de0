"""DeRa at beta0/lam agrees with a model retrained at that strength; and where it does not, which part is to blame."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from eval.claims import Claim, Evidence, mean, of_task, untested, verdict, within
from eval.policies import Policy, find

TABLE = [
    "objective",
    "anchor",
    "margin",
    "beta",
    "equivalent",
    "informative",
    "difference",
    "difference_low",
    "difference_high",
]
LEAST_EFFECTIVE = (
    2.0  # samples a prompt; an estimate reweighted from fewer says too little to blame anything by
)


def compare(evidence: Evidence, objective: str, anchor: Fraction) -> list[dict[str, Any]]:
    """For each retrained beta other than the anchor's own: the difference in reward, its interval, and its three parts.

    retrained - dera = (retrained - optimum: training) + (optimum - mixture: anchor) + (mixture - dera: approximation).
    A beta is informative if the reference, which needs no training and no mixing, would not pass there.
    """
    rows, margin = [], evidence.objectives[objective]["reward_margin"]
    (reference,) = find(evidence.policies, "reference", objective=objective)
    for retrained in find(evidence.policies, "retrained", objective=objective):
        beta = retrained.beta
        if beta == anchor:
            continue  # lam = 1 is the retrained model itself
        chosen = dict(objective=objective, anchor=anchor, beta=beta)
        (dera,) = find(evidence.policies, "dera", **chosen)
        (mixture,) = find(evidence.policies, "mixture", **chosen)
        optimum = next(
            iter(find(evidence.policies, "optimum", objective=objective, beta=beta)), None
        )
        difference = evidence.difference(retrained, dera)
        rows.append(
            {
                "beta": float(beta),
                "lam": str(dera.lam),
                "retrained": mean(retrained, "reward"),
                "DeRa": mean(dera, "reward"),
                "difference": difference,
                "seeds": _by_seed(evidence, retrained, dera),
                "equivalent": within(difference, margin),
                "informative": not within(evidence.difference(retrained, reference), margin),
                "training": _part(evidence, retrained, optimum, retrained),
                "anchor": _part(evidence, optimum, mixture, retrained),
                "approximation": _part(evidence, mixture, dera, retrained),
                "KL difference": evidence.difference(retrained, dera, "kl"),
            }
        )
    return rows


def _by_seed(evidence: Evidence, retrained: Policy, dera: Policy) -> list[float]:
    """The same difference for each seed alone."""
    wanted = dict(objective=dera.objective, beta=dera.beta)
    differences = []
    for seed in evidence.objectives[dera.objective]["seeds"]:
        (one,) = find(evidence.policies, "retrained", str(seed), **wanted)
        (other,) = find(evidence.policies, "dera", str(seed), anchor=dera.anchor, **wanted)
        differences.append(mean(one, "reward") - mean(other, "reward"))
    return differences


def _part(
    evidence: Evidence, first: Policy | None, second: Policy | None, retrained: Policy
) -> dict[str, float] | None:
    """A part of the difference; None where one side is an optimum nobody knows, or reweighted from samples that do not reach it."""
    if (
        first is None
        or second is None
        or not (_reached(first, retrained) and _reached(second, retrained))
    ):
        return None
    return evidence.difference(first, second)


def _reached(policy: Policy, retrained: Policy) -> bool:
    """Whether samples could tell what a policy is.

    A reweighted one needs two effective samples a prompt. For the optimum they do not suffice: what the reference never said has no
    weight, and the others' weights are then equal. So the retrained model, which is near it, must not be further from the reference than so many
    samples can tell, the log of their number.
    """
    if policy.ess < LEAST_EFFECTIVE:
        return False
    samples = policy.completions / len(policy.per_prompt["reward"])
    return policy.kind != "optimum" or mean(retrained, "kl") <= math.log(samples)


def table(evidence: Evidence) -> pd.DataFrame:
    """A row for each objective, anchor and other trained beta, for the figure: the difference in reward and what it is held against."""
    rows: list[dict[str, Any]] = []
    for objective, anchor in _anchors(evidence):
        margin = evidence.objectives[objective]["reward_margin"]
        for row in compare(evidence, objective, anchor):
            numbers = [row[name] for name in ("beta", "equivalent", "informative")]
            rows.append(
                dict(
                    zip(
                        TABLE,
                        [objective, float(anchor), margin, *numbers, *row["difference"].values()],
                        strict=True,
                    )
                )
            )
    return pd.DataFrame(rows, columns=TABLE)


def _anchors(evidence: Evidence) -> list[tuple[str, Fraction]]:
    pairs = {
        (p.objective, p.anchor)
        for p in evidence.policies
        if p.kind == "dera" and p.anchor is not None
    }
    return sorted(pair for pair in pairs if pair[0] in evidence.objectives)


def decide(evidence: Evidence) -> list[Claim]:
    """One check for each objective, that training reached its optimum, and one claim for each objective and anchor."""
    return [_converged(evidence, name) for name in evidence.objectives] + [
        _agrees(evidence, *a) for a in _anchors(evidence)
    ]


def _converged(evidence: Evidence, objective: str) -> Claim:
    """Models trained alike may agree with each other and with no theory: this says whether they are where theory puts them."""
    margin = evidence.objectives[objective]["reward_margin"]
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"converged-{objective}"),
        about="ours",
        task=evidence.task,
        claim=f"Training with {objective.upper()} reached the true optimum at each beta: the premise of what follows.",
        source="ours: a check of the training, not of the paper",
        criterion=(
            f"at every trained beta the 95% interval of retrained - optimum in reward lies within +-{margin:g}; "
            f"partly if at half of them; beta where the reference's samples do not reach the optimum (fewer than {LEAST_EFFECTIVE:g} effective samples a prompt, or retrained KL above the log of their number) do not count"
        ),
        figure=f"{evidence.task}/reward_kl_by_beta",
    )
    if evidence.objectives[objective]["optimum"] == "unknown":
        return untested(text, "no optimum is known in closed form (see the objective's module)")
    rows = []
    for retrained in find(evidence.policies, "retrained", objective=objective):
        (optimum,) = find(evidence.policies, "optimum", objective=objective, beta=retrained.beta)
        difference = evidence.difference(retrained, optimum)
        rows.append(
            {
                "beta": float(retrained.beta),
                "retrained": mean(retrained, "reward"),
                "true optimum": mean(optimum, "reward"),
                "difference": difference,
                "equivalent": within(difference, margin),
                "effective samples": round(optimum.ess, 1),
                "decides": _reached(optimum, retrained),
                "KL difference": evidence.difference(retrained, optimum, "kl"),
            }
        )
    parts = [row["equivalent"] for row in rows if row["decides"]]
    counted = f"equivalent at {sum(parts)} of {len(parts)} beta"
    return Claim(
        **text,
        verdict=verdict(sum(parts), len(parts)),
        headline=counted,
        evidence={"equivalent": counted, "by beta": rows},
    )


def _agrees(evidence: Evidence, objective: str, anchor: Fraction) -> Claim:
    margin, least = (
        evidence.objectives[objective]["reward_margin"],
        evidence.statistics["rank_correlation"],
    )
    rows = compare(evidence, objective, anchor)
    parts = [row["equivalent"] for row in rows if row["informative"]]
    found: dict[str, Any] = {"equivalent": f"at {sum(parts)} of {len(parts)} informative beta"}
    headline = [f"equivalent at {sum(parts)} of {len(parts)} informative beta"]
    if rows:
        found["largest difference"] = max((row["difference"]["value"] for row in rows), key=abs)
        headline.append(f"largest difference in reward {found['largest difference']:+.3f}")
    if len(rows) >= 3 and parts:
        correlation = float(
            stats.spearmanr(
                [row["retrained"] for row in rows], [row["DeRa"] for row in rows]
            ).statistic
        )
        found["rank correlation"] = (
            correlation if np.isfinite(correlation) else None
        )  # None where all rewards are equal
        headline.append(
            f"rank correlation {'none' if found['rank correlation'] is None else f'{correlation:.2f}'}"
        )
        parts.append(bool(correlation >= least))
    seeds = evidence.objectives[objective]["seeds"]
    return Claim(
        id=of_task(evidence, f"agreement-{objective}-{float(anchor):g}"),
        about="agreement",
        task=evidence.task,
        claim=f"DeRa from the {objective.upper()} anchor beta = {float(anchor):g} agrees with models retrained at beta/lam.",
        source="paper, Proposition 2 and its experiments",
        criterion=(
            f"at every other trained beta where the reference itself would not pass, the 95% interval of retrained - DeRa in reward lies "
            f"within +-{margin:g}; and, with three or more other beta, Spearman correlation over beta >= {least:g} (with four: the same "
            "order); partly if half of these hold"
        ),
        verdict=verdict(sum(parts), len(parts)),
        headline="; ".join(headline) + f"; {len(seeds)} seed{'s' * (len(seeds) > 1)}",
        evidence=found | {"training seeds": len(seeds), "by beta": rows},
        figure=f"{evidence.task}/reward_kl_by_beta",
    )
