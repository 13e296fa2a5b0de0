"""Far outside [0, 1] text breaks down, and the approximation gap may foresee where."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from eval.claims import FAILED, REPRODUCED, Claim, Evidence, mean
from eval.claims.checks import Check, above, at_least
from eval.claims.lam_grid import fine_grid
from eval.policies import Policy, find

MEASURES = ("broken", "fluency", "repetition", "length", "gold")
MIN_LAMS_OUTSIDE = 4
BREAKS = Check(
    "the share of broken completions is more than {:g} above the share at lam = 0 and at lam = 1",
    0.1,
    above,
)
FORESEES = Check(
    "the Spearman correlation of the gap with the share of broken completions is at least {:g}",
    0.8,
    at_least,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return two claims for each objective: that text breaks down, and that the gap foresees it."""
    claims = []
    for objective in evidence.objectives:
        claims.append(_breaks(evidence, objective))
        claims.append(_foreseen(evidence, objective))
    return claims


def breaking_points(evidence: Evidence, grid: list[Policy]) -> tuple[float | None, float | None]:
    """Return the lams nearest to [0, 1], one below and one above it, at which text breaks down.

    Text breaks down where more completions are broken than at lam = 0 and at lam = 1. None stands
    for a side on which it does not.
    """
    ends = [policy for policy in grid if policy.lam in (0, 1)]
    worse_end = max(ends, key=lambda policy: mean(policy, "broken"))
    broken = []
    for policy in grid:
        if BREAKS.holds(evidence.difference(policy, worse_end, "broken")):
            broken.append(float(policy.lam))
    below = max((lam for lam in broken if lam < 0), default=None)
    above_one = min((lam for lam in broken if lam > 1), default=None)
    return below, above_one


def _rows(evidence: Evidence, objective: str, grid: list[Policy]) -> list[dict[str, Any]]:
    """Return what is measured of the text at each lam, beside the approximation gap there."""
    rows = []
    for policy in grid:
        (mixture,) = find(
            evidence.policies, "mixture", objective=objective, anchor=policy.anchor, lam=policy.lam
        )
        row: dict[str, Any] = {"lam": float(policy.lam)}
        for name in MEASURES:
            row[name] = mean(policy, name)
        row["gap"] = None if mixture.gap is None else float(mixture.gap.mean())
        row["ESS"] = mixture.ess
        rows.append(row)
    return rows


def _breaks(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-breakdown-{objective}",
        about="ours",
        answers=("outside", "coherence"),
        task=evidence.task,
        claim=f"Far outside [0, 1] the text breaks down ({objective.upper()}).",
        source="ours: the notes ask how DeRa behaves for lam far outside [0, 1]",
        criterion=(
            f"At some lam of the grid outside [0, 1], {BREAKS} (95% interval). A completion is "
            "broken if it did not end, is not in the task's language, or is mostly repetition."
        ),
        figure="outside",
    )
    grid = fine_grid(evidence, objective)
    lams = [float(policy.lam) for policy in grid]
    leaves = any(not 0 <= lam <= 1 for lam in lams)
    if not leaves or not {0, 1} <= set(lams):
        return claim.not_tested("The grid of lam does not leave [0, 1].")

    below, above_one = breaking_points(evidence, grid)
    downwards = (
        f"The text does not break down as far as lam = {lams[0]:g}"
        if below is None
        else f"The text breaks down from lam = {below:g} downwards"
    )
    upwards = (
        f"it does not break down as far as lam = {lams[-1]:g}"
        if above_one is None
        else f"it breaks down from lam = {above_one:g} upwards"
    )
    nowhere = below is None and above_one is None
    return claim.decided(
        FAILED if nowhere else REPRODUCED,
        f"{downwards}; {upwards}.",
        {
            "breaks below 0 at": below,
            "breaks above 1 at": above_one,
            "by lam": _rows(evidence, objective, grid),
        },
    )


def _foreseen(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-gap-foresees-{objective}",
        about="ours",
        answers=("foresight",),
        task=evidence.task,
        claim=(
            "The approximation gap, which needs no retraining and no judge, foresees where the "
            f"text breaks down ({objective.upper()})."
        ),
        source="ours: the notes ask when the per-token approximation fails",
        criterion=f"Over the lams of the grid outside [0, 1], {FORESEES}.",
        figure="approximation_gap",
    )
    rows = _rows(evidence, objective, fine_grid(evidence, objective))
    inside = [row for row in rows if 0 <= row["lam"] <= 1]
    outside = [row for row in rows if not 0 <= row["lam"] <= 1]
    broken = [row["broken"] for row in outside]
    gaps = [row["gap"] for row in outside]
    if len(outside) < MIN_LAMS_OUTSIDE or max(broken) - min(broken) < BREAKS.threshold:
        return claim.not_tested(
            "There are fewer than four lams outside [0, 1], or nothing breaks there."
        )
    correlation = float(stats.spearmanr(gaps, broken).statistic)
    if not np.isfinite(correlation):
        return claim.not_tested("The gap does not vary.")
    largest_inside = np.max([row["gap"] for row in inside])
    return claim.decided(
        REPRODUCED if FORESEES.holds(correlation) else FAILED,
        (
            f"The Spearman correlation is {correlation:.2f} over {len(outside)} lams; the largest "
            f"gap is {largest_inside:.2f} nats in [0, 1] and {max(gaps):.2f} outside."
        ),
        {"Spearman": correlation, "lams": [row["lam"] for row in outside]},
    )
