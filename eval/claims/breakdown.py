"""Far outside [0, 1] text breaks down: at which lam, on which task, and does the approximation gap foresee it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from eval.claims import FAILED, REPRODUCED, Claim, Evidence, mean, of_task, untested
from eval.claims.transition import grid_of
from eval.policies import Policy, find

EXCESS = 0.1
LEAST_CORRELATION = 0.8
MEASURES = ("broken", "fluency", "repetition", "length", "gold")


def decide(evidence: Evidence) -> list[Claim]:
    """Two claims for each objective whose grid leaves [0, 1]."""
    return [
        claim
        for name in evidence.objectives
        for claim in (_breaks(evidence, name), _foreseen(evidence, name))
    ]


def breaking_points(evidence: Evidence, grid: list[Policy]) -> tuple[float | None, float | None]:
    """The lam below 0 and above 1 nearest to them where more completions are broken than at 0 and 1, or None."""
    ends = [policy for policy in grid if policy.lam in (0, 1)]
    worst = max(ends, key=lambda policy: mean(policy, "broken"))
    broken = [float(p.lam) for p in grid if evidence.difference(p, worst, "broken")["low"] > EXCESS]
    return max((lam for lam in broken if lam < 0), default=None), min(
        (lam for lam in broken if lam > 1), default=None
    )


def _rows(evidence: Evidence, objective: str, grid: list[Policy]) -> list[dict[str, Any]]:
    rows = []
    for policy in grid:
        (mixture,) = find(
            evidence.policies, "mixture", objective=objective, anchor=policy.anchor, lam=policy.lam
        )
        gap = None if mixture.gap is None else float(mixture.gap.mean())
        rows.append(
            {
                "lam": float(policy.lam),
                **{name: mean(policy, name) for name in MEASURES},
                "gap": gap,
                "ESS": mixture.ess,
            }
        )
    return rows


def _breaks(evidence: Evidence, objective: str) -> Claim:
    grid = grid_of(evidence, objective)
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"breakdown-{objective}"),
        about="ours",
        task=evidence.task,
        claim=f"Far outside [0, 1] the text breaks down ({objective.upper()}).",
        source="ours: the notes ask how DeRa behaves for lam far outside [0, 1]",
        criterion=(
            f"at some lam of the grid outside [0, 1] the share of broken completions (not ended, not of the task's language, or mostly repetition) is "
            f"more than {EXCESS:g} above that at lam = 0 and at lam = 1 (95% interval)"
        ),
        figure="outside",
    )
    outside = [policy for policy in grid if not 0 <= policy.lam <= 1]
    if not outside or not {0, 1} <= {policy.lam for policy in grid}:
        return untested(text, "the grid does not leave [0, 1]")
    below, above = breaking_points(evidence, grid)
    lowest, highest = float(grid[0].lam), float(grid[-1].lam)
    headline = (
        f"from lam = {below:g} downwards" if below is not None else f"not down to lam = {lowest:g}",
        f"from lam = {above:g} upwards" if above is not None else f"not up to lam = {highest:g}",
    )
    return Claim(
        **text,
        verdict=REPRODUCED if (below, above) != (None, None) else FAILED,
        headline="; ".join(headline),
        evidence={
            "breaks below 0 at": below,
            "breaks above 1 at": above,
            "by lam": _rows(evidence, objective, grid),
        },
    )


def _foreseen(evidence: Evidence, objective: str) -> Claim:
    text: dict[str, Any] = dict(
        id=of_task(evidence, f"gap-foresees-{objective}"),
        about="ours",
        task=evidence.task,
        claim=f"The approximation gap, which needs no retraining and no judge, foresees where the text breaks down ({objective.upper()}).",
        source="ours: the notes ask when the per-token approximation fails",
        criterion=f"over the lam of the grid outside [0, 1]: Spearman correlation of the gap with the share of broken completions >= {LEAST_CORRELATION:g}",
        figure="approximation_gap",
    )
    grid = _rows(evidence, objective, grid_of(evidence, objective))
    rows = [row for row in grid if not 0 <= row["lam"] <= 1]
    broken = [row["broken"] for row in rows]
    if len(rows) < 4 or max(broken) - min(broken) < EXCESS:
        return untested(text, "fewer than four lam outside [0, 1], or nothing breaks there")
    correlation = float(stats.spearmanr([row["gap"] for row in rows], broken).statistic)
    if not np.isfinite(correlation):
        return untested(text, "the gap does not vary")
    inside = [row["gap"] for row in grid if 0 <= row["lam"] <= 1]
    return Claim(
        **text,
        verdict=REPRODUCED if correlation >= LEAST_CORRELATION else FAILED,
        headline=f"Spearman {correlation:.2f} over {len(rows)} lam; largest gap in [0, 1] {np.max(inside):.2f} nats, outside {max(r['gap'] for r in rows):.2f}",
        evidence={"Spearman": correlation, "lams": [row["lam"] for row in rows]},
    )
