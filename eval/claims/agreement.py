"""DeRa at beta0/lam agrees with a model retrained at that strength; and where it does not, which part is to blame."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

from eval.claims import Claim, Evidence, verdict
from eval.estimators import bootstrap_mean
from eval.policies import Policy, find


def compare(evidence: Evidence, objective: str, anchor: Fraction) -> list[dict[str, Any]]:
    """For each retrained beta other than the anchor's own: the difference in reward, its interval, and its three parts.

    retrained - dera = (retrained - optimum: training) + (optimum - mixture: anchor) + (mixture - dera: approximation).
    """
    rows = []
    for retrained in find(evidence.policies, "retrained", objective=objective):
        beta = retrained.beta
        if beta == anchor:
            continue  # lam = 1 is the retrained model itself
        chosen = dict(objective=objective, anchor=anchor, beta=beta)
        (dera,) = find(evidence.policies, "dera", **chosen)
        (mixture,) = find(evidence.policies, "mixture", **chosen)
        (optimum,) = find(evidence.policies, "optimum", beta=beta)
        parts = {
            "difference": (retrained, dera),
            "training": (retrained, optimum),
            "anchor": (optimum, mixture),
            "approximation": (mixture, dera),
        }
        row = {"beta": float(beta), "lam": str(dera.lam)}
        row |= {name: _difference(evidence, *pair) for name, pair in parts.items()}
        row["equivalent"] = all(abs(row["difference"][end]) <= evidence.statistics["reward_margin"] for end in ("low", "high"))
        rows.append(row | {"retrained reward": _mean(retrained), "DeRa reward": _mean(dera)})
    return rows


def _difference(evidence: Evidence, first: Policy, second: Policy) -> dict[str, float]:
    """Mean difference in reward, with the ends of its 95% interval over prompts (paired)."""
    per_prompt = first.per_prompt["reward"] - second.per_prompt["reward"]
    estimate = bootstrap_mean(per_prompt, evidence.statistics["bootstrap_resamples"], evidence.seed)
    return dataclasses.asdict(estimate)


def _mean(policy: Policy) -> float:
    return float(np.mean(policy.per_prompt["reward"]))


def decide(evidence: Evidence) -> list[Claim]:
    """One claim for each objective and anchor."""
    margin, least = evidence.statistics["reward_margin"], evidence.statistics["rank_correlation"]
    pairs = sorted({(p.objective, p.anchor) for p in evidence.policies if p.kind == "dera"})
    claims = []
    for objective, anchor in pairs:
        rows = compare(evidence, objective, anchor)
        parts = [row["equivalent"] for row in rows]
        found: dict[str, Any] = {"equivalent at": f"{sum(parts)} of {len(parts)} beta", "by beta": rows}
        if len(rows) >= 3:
            correlation = stats.spearmanr([r["retrained reward"] for r in rows], [r["DeRa reward"] for r in rows]).statistic
            found["rank correlation"] = float(correlation)
            parts.append(bool(correlation >= least))
        if rows:
            found["largest difference"] = max((row["difference"]["value"] for row in rows), key=abs)
        claims.append(
            Claim(
                id=f"agreement-{objective}-{float(anchor):g}",
                claim=f"DeRa from the {objective.upper()} anchor beta = {float(anchor):g} agrees with models retrained at beta/lam.",
                source="paper, Proposition 2 and its experiments",
                criterion=(
                    f"at every other trained beta the 95% interval of the difference in reward lies within +-{margin:g} (equivalence test "
                    f"at 2.5% each side), and, with three or more beta, Spearman correlation over beta >= {least:g}; partly if half of these hold"
                ),
                verdict=verdict(sum(parts), len(parts)),
                evidence=found,
                figure="reward_kl_by_beta",
            )
        )
    return claims
