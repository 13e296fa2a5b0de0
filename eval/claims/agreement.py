"""DeRa at beta0/lam agrees with a model retrained at that strength.

Where it does not, the difference is split into components that say what to blame.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from eval.claims import PARTLY_IF_HALF, Claim, Evidence, mean, verdict
from eval.claims.checks import Check, at_least, within
from eval.claims.convergence import can_be_told
from eval.policies import Policy, find

#: Columns of the table agreement.csv, which the figure of the same name draws.
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
MIN_BETAS_TO_RANK = 3
#: Objectives of the paper; the notes ask about others in a question of its own.
OF_THE_PAPER = ("rloo", "dpo")


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective and anchor."""
    return [_agrees(evidence, objective, anchor) for objective, anchor in _anchors(evidence)]


def table(evidence: Evidence) -> pd.DataFrame:
    """Return a row for each objective, anchor and other trained beta, for the figure."""
    rows = []
    for objective, anchor in _anchors(evidence):
        margin = evidence.objectives[objective].reward_margin
        for row in compare(evidence, objective, anchor):
            difference = row["difference"]
            rows.append(
                {
                    "objective": objective,
                    "anchor": float(anchor),
                    "margin": margin,
                    "beta": row["beta"],
                    "equivalent": row["equivalent"],
                    "informative": row["informative"],
                    "difference": difference["value"],
                    "difference_low": difference["low"],
                    "difference_high": difference["high"],
                }
            )
    return pd.DataFrame(rows, columns=TABLE)


def compare(evidence: Evidence, objective: str, anchor: Fraction) -> list[dict[str, Any]]:
    """Return the difference in reward at each retrained beta other than the anchor's own.

    Each row has the difference retrained - DeRa with its interval, and its three components. The
    component "anchor" is the error of the aligned model that DeRa starts from:

        (retrained - optimum: training) + (optimum - mixture: anchor)
        + (mixture - DeRa: approximation)

    A beta is informative if the reference, which needs no training and no mixing, would not pass
    there.
    """
    equivalent = _equivalent(evidence, objective)
    (reference,) = find(evidence.policies, "reference", objective=objective)
    rows = []
    for retrained in find(evidence.policies, "retrained", objective=objective):
        beta = retrained.beta
        if beta == anchor:
            continue  # at lam = 1 DeRa is the retrained model itself

        # the policies at this strength; the optimum is not known for every objective
        (dera,) = find(evidence.policies, "dera", objective=objective, anchor=anchor, beta=beta)
        (mixture,) = find(
            evidence.policies, "mixture", objective=objective, anchor=anchor, beta=beta
        )
        optima = find(evidence.policies, "optimum", objective=objective, beta=beta)
        optimum = optima[0] if optima else None

        difference = evidence.difference(retrained, dera)
        from_reference = evidence.difference(retrained, reference)
        rows.append(
            {
                "beta": float(beta),
                "lam": str(dera.lam),
                "retrained": mean(retrained, "reward"),
                "DeRa": mean(dera, "reward"),
                "difference": difference,
                "seeds": _by_seed(evidence, retrained, dera),
                "equivalent": equivalent.holds(difference),
                "informative": not equivalent.holds(from_reference),
                "training": _component(evidence, retrained, optimum, retrained),
                "anchor": _component(evidence, optimum, mixture, retrained),
                "approximation": _component(evidence, mixture, dera, retrained),
                "KL difference": evidence.difference(retrained, dera, "kl"),
            }
        )
    return rows


def _anchors(evidence: Evidence) -> list[tuple[str, Fraction]]:
    """Return each objective with each of its anchors, sorted by name and strength."""
    pairs = []
    for name, objective in evidence.objectives.items():
        pairs += [(name, anchor) for anchor in objective.anchors]
    return sorted(pairs)


def _equivalent(evidence: Evidence, objective: str) -> Check:
    return Check(
        "the 95% interval of retrained - DeRa in reward lies within +-{:g}",
        evidence.objectives[objective].reward_margin,
        within,
    )


def _by_seed(evidence: Evidence, retrained: Policy, dera: Policy) -> list[float]:
    """Return the mean of retrained - DeRa in reward for each seed alone."""
    at_beta = {"objective": dera.objective, "beta": dera.beta}
    differences = []
    for seed in evidence.objectives[dera.objective].seeds:
        (retrained_of_seed,) = find(evidence.policies, "retrained", str(seed), **at_beta)
        (dera_of_seed,) = find(evidence.policies, "dera", str(seed), anchor=dera.anchor, **at_beta)
        differences.append(mean(retrained_of_seed, "reward") - mean(dera_of_seed, "reward"))
    return differences


def _component(
    evidence: Evidence, first: Policy | None, second: Policy | None, retrained: Policy
) -> dict[str, float] | None:
    """Return first - second, a component of the difference between retrained and DeRa.

    It is None where one of the two is an optimum that nobody knows, or is reweighted from samples
    that do not reach it.
    """
    if first is None or second is None:
        return None
    if not (can_be_told(first, retrained) and can_be_told(second, retrained)):
        return None
    return evidence.difference(first, second)


def _agrees(evidence: Evidence, objective: str, anchor: Fraction) -> Claim:
    equivalent = _equivalent(evidence, objective)
    in_order = Check(
        "the Spearman correlation of their rewards over beta is at least {:g}",
        evidence.statistics.rank_correlation,
        at_least,
    )
    claim = Claim(
        id=f"{evidence.task}-agreement-{objective}-{float(anchor):g}",
        about="agreement",
        answers=("agreement" if objective.startswith(OF_THE_PAPER) else "other-objectives",),
        task=evidence.task,
        claim=(
            f"DeRa from the {objective.upper()} anchor beta = {float(anchor):g} agrees with models "
            "retrained at beta/lam."
        ),
        source="paper, Proposition 2 and its experiments",
        criterion=(
            f"At every other trained beta where the reference itself would not pass, {equivalent}. "
            f"With three or more other beta, {in_order}; with four this means the same order. "
            f"{PARTLY_IF_HALF}"
        ),
        figure=f"{evidence.task}/reward_kl_by_beta",
    )

    # equivalence at each informative beta
    rows = compare(evidence, objective, anchor)
    conditions = [row["equivalent"] for row in rows if row["informative"]]
    counted = f"at {sum(conditions)} of {len(conditions)} informative beta"
    numbers: dict[str, Any] = {"equivalent": counted}
    headline = [f"DeRa and retrained models are equivalent {counted}"]
    if rows:
        largest = max((row["difference"]["value"] for row in rows), key=abs)
        numbers["largest difference"] = largest
        headline.append(f"the largest difference in reward is {largest:+.3f}")

    # the order of the rewards, where there are enough beta to speak of an order
    if len(rows) >= MIN_BETAS_TO_RANK and conditions:
        correlation = _rank_correlation(rows)
        shown = "not defined" if correlation is None else f"{correlation:.2f}"
        numbers["rank correlation"] = correlation
        headline.append(f"the rank correlation is {shown}")
        conditions.append(in_order.holds(correlation))

    seeds = len(evidence.objectives[objective].seeds)
    headline.append("there is 1 seed" if seeds == 1 else f"there are {seeds} seeds")
    numbers |= {"training seeds": seeds, "by beta": rows}
    return claim.decided(verdict(conditions), "; ".join(headline) + ".", numbers)


def _rank_correlation(rows: list[dict[str, Any]]) -> float | None:
    """Return the Spearman correlation of the rewards over beta, None where all are equal."""
    retrained = [row["retrained"] for row in rows]
    dera = [row["DeRa"] for row in rows]
    correlation = float(stats.spearmanr(retrained, dera).statistic)
    return correlation if np.isfinite(correlation) else None
