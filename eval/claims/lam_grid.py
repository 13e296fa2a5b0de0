"""DeRa over the fine grid of lams, which an objective's default anchor decodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from eval.claims import Evidence, mean
from eval.claims.checks import Check, at_least, at_most
from eval.policies import Policy, find

MAX_SPACING = 0.25  # between neighbouring lams of a grid that can show whether DeRa moves smoothly
COARSE_GRID = "The grid has gaps wider than 1/4 in [0, 1], or lacks an end."

RISES = Check("the Spearman correlation with lam is at least {:g}", 0.95, at_least)
FALLS = Check("the Spearman correlation with lam is at most {:g}", -0.95, at_most)
HAS_NO_JUMP = Check(
    "no step between neighbouring lams, which are at most 1/4 apart, carries more than {:g} of the "
    "whole change",
    0.5,
    at_most,
)


def fine_grid(evidence: Evidence, objective: str) -> list[Policy]:
    """Return DeRa from the default anchor at every lam that was decoded, lam ascending."""
    anchor = evidence.objectives[objective].default_beta
    grid = find(evidence.policies, "dera", objective=objective, anchor=anchor)
    return sorted(grid, key=lambda policy: policy.lam)


def unit_grid(evidence: Evidence, objective: str) -> list[Policy]:
    """Return the fine grid in [0, 1]; none if lams are over 1/4 apart or an end is missing."""
    grid = [policy for policy in fine_grid(evidence, objective) if 0 <= policy.lam <= 1]
    lams = [float(policy.lam) for policy in grid]
    has_ends = len(lams) >= 4 and lams[0] == 0 and lams[-1] == 1
    return grid if has_ends and max(np.diff(lams)) <= MAX_SPACING else []


def smoothness(grid: list[Policy], quantity: str) -> dict[str, Any]:
    """Return the means over lam, their Spearman correlation with lam, and the largest step.

    The step is a share of the whole change between the ends. The correlation is None where the
    means do not vary.
    """
    means = np.array([mean(policy, quantity) for policy in grid])
    lams = [float(policy.lam) for policy in grid]
    correlation = stats.spearmanr(lams, means).statistic
    whole_change = max(abs(means[-1] - means[0]), 1e-12)
    return {
        "values": means.round(4).tolist(),
        "Spearman": float(correlation) if np.isfinite(correlation) else None,
        "largest step": float(np.max(np.abs(np.diff(means))) / whole_change),
    }
