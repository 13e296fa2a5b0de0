"""Text stays whole outside [0, 1], or breaks; and the approximation gap may foresee where.

These are limits of the method, which the notes ask about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, Outcome, above, below, fail_level
from eval.claims.lam_grid import fine_grid, lam_of
from eval.policies import Policy
from eval.statistics import Measurement
from study.prospects import MIN_LAMS_OUTSIDE as MIN_LAMS

MEASURES = ("broken", "fluency", "repetition", "length", "gold")
STAYS_WHOLE = Check(
    "the share of broken completions, less that at lam = 0 or at lam = 1, whichever is more, is "
    "below {:g}",
    0.1,
    below,
)
ADDS = Check(
    "Fisher's z of the rank correlation of the gap with the share of broken completions over lams, "
    "with lam and the KL to the reference held fixed, is above {:g}",
    0.0,
    above,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return for each objective whether text stays whole on both sides, and the gap's claim."""
    claims = []
    for objective in evidence.objectives:
        claims.append(_stays_whole(evidence, objective, beyond=True))
        claims.append(_stays_whole(evidence, objective, beyond=False))
        claims.append(_foreseen(evidence, objective))
    return claims


def _stays_whole(evidence: Evidence, objective: str, beyond: bool) -> Claim:
    side = "above 1" if beyond else "below 0"
    claim = Claim(
        id=f"{evidence.task}-whole-{side.replace(' ', '-')}-{objective}",
        part="limit",
        answers=("outside", "coherence"),
        task=evidence.task,
        claim=f"DeRa's text stays whole at every lam of the grid {side} ({objective.upper()}).",
        source="ours: the notes ask how DeRa behaves for lam far outside [0, 1]",
        criterion=(
            f"At every lam of the grid {side}, {STAYS_WHOLE}. A completion is broken if it did not "
            "end, is not in the task's language, or is mostly repetition."
        ),
        figure="outside",
    )
    grid = fine_grid(evidence, objective)
    outside = [policy for policy in grid if (lam_of(policy) > 1 if beyond else lam_of(policy) < 0)]
    ends = [policy for policy in grid if policy.lam in (0, 1)]
    if not outside or len(ends) < 2:
        return claim.not_tested(f"The grid has no lam {side}, or lacks lam = 0 or 1.")

    worse_end = max(ends, key=lambda policy: mean(policy, "broken"))
    conditions = []
    for policy in outside:
        rise = evidence.difference(policy, worse_end, "broken")
        conditions.append(Condition(f"lam = {lam_of(policy):g}", STAYS_WHOLE, rise, 0.0))

    # from the lam nearest to [0, 1] outwards
    conditions.sort(key=lambda condition: abs(float(condition.name.split()[-1])))
    level = fail_level(len(conditions))
    broken = []
    for condition in conditions:
        if condition.check.outcome(condition.measured, level) is Outcome.FAILS:
            broken.append(condition.name)
    furthest = outside[-1] if beyond else outside[0]
    headline = f"The text breaks from {broken[0]} on. " if broken else ""
    headline += f"At lam = {lam_of(furthest):g} {mean(furthest, 'broken'):.0%} of it is broken."
    rows = [_row(evidence, policy) for policy in grid]
    return claim.judged(conditions, headline, {"by lam": rows})


def _row(evidence: Evidence, policy: Policy) -> dict[str, Any]:
    """Return what is measured of the text at one lam, beside the approximation gap there."""
    mixture = _mixture_at(evidence, policy)
    row: dict[str, Any] = {"lam": lam_of(policy)}
    for name in MEASURES:
        row[name] = mean(policy, name)
    row["gap"] = None if mixture.gap is None else float(mixture.gap.mean())
    row["ESS"] = mixture.ess
    return row


def _mixture_at(evidence: Evidence, dera: Policy) -> Policy:
    """Return the exact mixture that a DeRa policy approximates."""
    (mixture,) = evidence.find("mixture", dera.objective, anchor=dera.anchor, lam=dera.lam)
    return mixture


def _foreseen(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-gap-foresees-{objective}",
        part="limit",
        answers=("foresight",),
        task=evidence.task,
        claim=(
            "The approximation gap, which needs no retraining and no judge, says more about where "
            f"text breaks than lam and the KL do ({objective.upper()})."
        ),
        source="ours: the notes ask when the per-token approximation fails",
        criterion=(
            f"Over the lams of the grid outside [0, 1], as a mean over training seeds, {ADDS}. Its "
            "error is that of one sample of so many lams, because every seed has the same lams. A "
            "gap counts only up to half the log of the number of samples of a prompt, because more "
            f"cannot be told from them. The claim is not tested with fewer than {MIN_LAMS} such "
            "lams."
        ),
        figure="approximation_gap",
    )
    outside = [policy for policy in fine_grid(evidence, objective) if not 0 <= lam_of(policy) <= 1]
    usable = [policy for policy in outside if _gap_can_be_told(evidence, policy)]
    if len(usable) < MIN_LAMS:
        return claim.not_tested(
            f"The gap can be told at {len(usable)} of {len(outside)} lams outside [0, 1]."
        )
    correlations = []
    for number in range(len(usable[0].by_seed)):
        correlations.append(_partial_correlation(evidence, usable, number))
    if not np.isfinite(correlations).all():
        return claim.not_tested(
            "Within some training seed nothing breaks, or lam and the KL leave nothing to explain."
        )
    measured = z_of_correlations(correlations, lams=len(usable), fixed=2)
    return claim.judged(
        [Condition("Fisher's z", ADDS, measured)],
        f"The rank correlation is {math.tanh(measured.value):.2f} over {len(usable)} lams.",
        {"by seed": [round(correlation, 3) for correlation in correlations]},
    )


def _gap_can_be_told(evidence: Evidence, policy: Policy) -> bool:
    """Return whether the gap at a lam is small enough for the number of samples."""
    gap = _gaps(evidence, policy)
    samples = policy.completions / len(policy.per_prompt["reward"]) / max(len(policy.by_seed), 1)
    return samples > 1 and max(gap) <= math.log(samples) / 2


def _gaps(evidence: Evidence, policy: Policy) -> list[float]:
    """Return the mean gap of each training seed."""
    mixture = _mixture_at(evidence, policy)
    return [float(member.gap.mean()) for member in mixture.by_seed if member.gap is not None]


def _partial_correlation(evidence: Evidence, policies: list[Policy], number: int) -> float:
    """Return the correlation of gap and broken text over lams, given lam and KL, in ranks.

    Args:
        number: which of the training seeds.
    """
    gap = [_gaps(evidence, policy)[number] for policy in policies]
    broken = [mean(policy.by_seed[number], "broken") for policy in policies]
    distance = [abs(lam_of(policy)) for policy in policies]
    kl = [mean(policy.by_seed[number], "kl") for policy in policies]
    return partial_rank_correlation(gap, broken, [distance, kl])


def z_of_correlations(correlations: Sequence[float], lams: int, fixed: int) -> Measurement:
    """Return the mean of several seeds' rank correlations as Fisher's z, with its error.

    The correlations are over the same lams, so their mean is as sure as that of one seed: the error
    is `sqrt(1.06 / (lams - fixed - 3))` (Fieller, Hartley and Pearson, 1957, for ranks).

    Args:
        correlations: one a training seed.
        lams: over how many lams each of them is.
        fixed: how many other quantities are held fixed.

    Raises:
        ValueError: if there are not more than `fixed + 3` lams.
    """
    if lams <= fixed + 3:
        raise ValueError(f"{lams} lams are too few with {fixed} quantities held fixed")
    mean_of_seeds = float(np.clip(np.mean(correlations), -0.999, 0.999))
    error = math.sqrt(1.06 / (lams - fixed - 3))
    return Measurement(math.atanh(mean_of_seeds), error, lams - fixed - 2, len(correlations), 0)


def partial_rank_correlation(
    first: Sequence[float], second: Sequence[float], fixed: Sequence[Sequence[float]]
) -> float:
    """Return the correlation of two lists in ranks, with further lists held fixed.

    Each list is turned into ranks, and what the ranks of the fixed lists explain by a linear fit is
    taken off. The result is NaN where nothing is left of one of the two.
    """
    explain = [np.ones(len(first)), *(stats.rankdata(values) for values in fixed)]
    design = np.stack(explain, axis=1)
    residuals = []
    for values in (first, second):
        ranks = stats.rankdata(values)
        residual = ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
        if np.linalg.norm(residual) < 1e-9 * np.linalg.norm(ranks):
            return math.nan
        residuals.append(residual / np.linalg.norm(residual))
    return float(residuals[0] @ residuals[1])
