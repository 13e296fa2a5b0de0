"""DeRa over the fine grid of lams, which an objective's default anchor decodes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from eval.claims.checks import Check, Condition, above, below
from eval.claims.evidence import Evidence, mean
from eval.policies import Policy, find, together
from eval.statistics import measure
from study.prospects import MAX_SPACING

COARSE_GRID = "The grid has gaps wider than 1/4 in [0, 1], or lacks an end."
#: A step between neighbouring lams may go back by this share of the whole change ...
MAX_BACK = 0.1
#: ... and may go forward by this share of it.
MAX_JUMP = 0.6

MOVES = Check(
    "the change from lam = 0 to lam = 1, in the direction that is claimed, is above {:g}",
    0.0,
    above,
)
NEVER_BACK = Check(
    "each step between neighbouring lams, which are at most 1/4 apart, plus "
    f"{MAX_BACK:.0%} of the whole change is above {{:g}}",
    0.0,
    above,
)
NO_JUMP = Check(
    f"each such step less {MAX_JUMP:.0%} of the whole change is below {{:g}}", 0.0, below
)
#: What a criterion says of a measure that is to move over the grid; `moves_smoothly` decides it.
SMOOTHLY = f"{MOVES}; {NEVER_BACK}; and {NO_JUMP}"


def fine_grid(evidence: Evidence, objective: str) -> list[Policy]:
    """Return DeRa from the default anchor at every lam that was decoded, lam ascending."""
    anchor = evidence.objectives[objective].default_beta
    grid = find(evidence.policies, "dera", objective=objective, anchor=anchor)
    return sorted(grid, key=lambda policy: policy.lam or 0)


def unit_grid(evidence: Evidence, objective: str) -> list[Policy]:
    """Return the fine grid in [0, 1]; none if lams are over 1/4 apart or an end is missing.

    Each step is the longest that is at most 1/4, because a small step cannot be told from noise.
    """
    # by fractions, because 0.09 + 0.25 is not 0.34 in floating point
    by_lam = {Fraction(policy.lam or 0): policy for policy in fine_grid(evidence, objective)}
    lams = [Fraction(0)]
    while lams[-1] < 1:
        far = min(lams[-1] + MAX_SPACING, Fraction(1))
        within_reach = [lam for lam in by_lam if lams[-1] < lam <= far]
        if not within_reach:
            return []
        lams.append(max(within_reach))
    return [by_lam[lam] for lam in lams] if 0 in by_lam else []


def moves_smoothly(grid: list[Policy], quantity: str, direction: int) -> list[Condition]:
    """Return the conditions that a measure moves over the grid in one direction, without jumps.

    Args:
        grid: from the reference to the aligned model.
        quantity: the measure.
        direction: 1 where the measure is to rise with lam, -1 where it is to fall.
    """
    values = [direction * array for array in together(quantity, *grid)]
    whole = values[-1] - values[0]
    change = float(np.nanmean(whole))
    conditions = [Condition(f"{quantity}: whole change", MOVES, measure(whole), change)]
    for (near, far), (low, high) in zip(pairwise(grid), pairwise(values), strict=True):
        step = high - low
        name = f"{quantity}: lam {lam_of(near):g} to {lam_of(far):g}"
        share = lam_of(far) - lam_of(near)
        back = measure(step + MAX_BACK * whole)
        jump = measure(step - MAX_JUMP * whole)
        conditions.append(Condition(name, NEVER_BACK, back, (share + MAX_BACK) * change))
        conditions.append(Condition(name, NO_JUMP, jump, (share - MAX_JUMP) * change))
    return conditions


def path(grid: list[Policy], quantity: str) -> list[dict[str, Any]]:
    """Return the mean of a measure at each lam, as a table of the evidence."""
    return [{"lam": lam_of(policy), quantity: mean(policy, quantity)} for policy in grid]


def lam_of(policy: Policy) -> float:
    """Return the mixing weight of a DeRa policy as a number."""
    assert policy.lam is not None  # every DeRa has one
    return float(policy.lam)
