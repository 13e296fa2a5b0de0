"""Text stays whole outside [0, 1], or breaks. These are limits of the method.

The evidence has the approximation gap at each lam, and the figure `approximation_gap` sets it
beside broken text. Whether the gap foresees where text breaks is no claim: both are smooth curves
over lam, and two unrelated smooth curves correlate over any number of lams.
"""

from __future__ import annotations

from typing import Any

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, Outcome, below, fail_level
from eval.claims.lam_grid import fine_grid, lam_of
from eval.policies import Policy

MEASURES = ("broken", "fluency", "repetition", "length", "gold")
STAYS_WHOLE = Check(
    "the share of broken completions, less that at lam = 0 or at lam = 1, whichever is more, is "
    "below {:g}",
    0.1,
    below,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return for each objective whether text stays whole above 1 and whether it does below 0."""
    claims = []
    for objective in evidence.objectives:
        claims.append(_stays_whole(evidence, objective, beyond=True))
        claims.append(_stays_whole(evidence, objective, beyond=False))
    return claims


def _stays_whole(evidence: Evidence, objective: str, beyond: bool) -> Claim:
    side = "above 1" if beyond else "below 0"
    claim = Claim(
        id=f"{evidence.task}-whole-{side.replace(' ', '-')}-{objective}",
        part="limit",
        answers=("outside", "coherence"),
        task=evidence.task,
        claim=f"DeRa's text stays whole at every lam of the grid {side} ({objective.upper()}).",
        source="ours: people ask how DeRa behaves for lam far outside [0, 1]",
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
