"""DeRa moves smoothly between the reference and the aligned model."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

from eval.claims import Claim, Evidence, mean, of_task, untested, verdict
from eval.policies import Policy, find

LARGEST_STEP = 0.5
LEAST_MONOTONE = 0.95
COARSE = "the grid has gaps wider than 1/4 in [0, 1]"


def grid_of(evidence: Evidence, objective: str) -> list[Policy]:
    """DeRa from the default strength's anchor at every lam that was decoded, lam ascending."""
    anchor = Fraction(evidence.objectives[objective]["default_beta"])
    return sorted(
        find(evidence.policies, "dera", objective=objective, anchor=anchor),
        key=lambda policy: policy.lam,
    )


def inside(evidence: Evidence, objective: str) -> list[Policy]:
    """That grid in [0, 1]; empty if it has gaps wider than 1/4 there, or lacks an end."""
    grid = [policy for policy in grid_of(evidence, objective) if 0 <= policy.lam <= 1]
    lams = [float(policy.lam) for policy in grid]
    whole = len(lams) >= 4 and lams[0] == 0 and lams[-1] == 1 and max(np.diff(lams)) <= 0.25
    return grid if whole else []


def smoothness(grid: list[Policy], quantity: str) -> dict[str, Any]:
    """The means over lam, their Spearman correlation with lam, and the largest step as a share of the whole change."""
    means = np.array([mean(policy, quantity) for policy in grid])
    correlation = stats.spearmanr([float(policy.lam) for policy in grid], means).statistic
    step = float(np.max(np.abs(np.diff(means))) / max(abs(means[-1] - means[0]), 1e-12))
    shown = float(correlation) if np.isfinite(correlation) else None  # None where nothing varies
    return {"values": means.round(4).tolist(), "Spearman": shown, "largest step": step}


def decide(evidence: Evidence) -> list[Claim]:
    """For each objective, over the fine grid of its default anchor."""
    return [_smooth(evidence, name) for name in evidence.objectives]


def _smooth(evidence: Evidence, objective: str) -> Claim:
    grid = inside(evidence, objective)
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"smooth-{objective}"),
        about="smooth",
        task=evidence.task,
        claim=f"Between lam = 0 and lam = 1, reward and KL ({objective.upper()}) move monotonically and without jumps.",
        source="paper, abstract",
        criterion=(
            f"on the grid of lam in [0, 1], for reward and for KL: Spearman correlation with lam >= {LEAST_MONOTONE:g}, and no step between "
            f"neighbours of at most 1/4 carries more than {LARGEST_STEP:g} of the whole change; partly if half of the four hold"
        ),
        figure=f"{evidence.task}/lam_curve",
    )
    if not grid:
        return untested(text, COARSE)
    found = {quantity: smoothness(grid, quantity) for quantity in ("reward", "kl")}
    parts = [
        value["Spearman"] is not None and value["Spearman"] >= LEAST_MONOTONE
        for value in found.values()
    ]
    parts += [value["largest step"] <= LARGEST_STEP for value in found.values()]
    reward, kl = found["reward"], found["kl"]
    headline = (
        f"reward {reward['values'][0]:.2f} to {reward['values'][-1]:.2f} over {len(grid)} lam, Spearman {_number(reward['Spearman'])}; "
        f"KL {kl['values'][-1]:.2f} nats, Spearman {_number(kl['Spearman'])}"
    )
    lams = [float(policy.lam) for policy in grid]
    return Claim(
        **text,
        verdict=verdict(sum(parts), len(parts)),
        headline=headline,
        evidence={"lams": lams, **found},
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
