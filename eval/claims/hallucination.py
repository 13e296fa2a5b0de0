"""DeRa controls hallucination by the level of alignment, at some cost in coverage and length.

The claim is there for tasks whose completions are measured by `hallucinated`.
"""

from __future__ import annotations

from typing import Any

from eval.claims import PARTLY_IF_HALF, Claim, Evidence, mean, verdict
from eval.claims.checks import Check, below, within
from eval.claims.lam_grid import COARSE_GRID, FALLS, HAS_NO_JUMP, smoothness, unit_grid
from eval.policies import Policy, find

COSTS = ("coverage", "statements", "fluency", "length")
FALLS_OVER_ALL = Check(
    "the 95% interval of hallucination at lam = 1 less hallucination at lam = 0 lies below {:g}",
    0.0,
    below,
)
AS_RETRAINED = Check(
    "the 95% interval of retrained - DeRa in hallucination lies within +-{:g}", 0.1, within
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective."""
    if "hallucinated" not in evidence.policies[0].per_prompt:
        return []
    return [_controlled(evidence, objective) for objective in evidence.objectives]


def _statement(evidence: Evidence, objective: str) -> Claim:
    return Claim(
        id=f"{evidence.task}-hallucination-{objective}",
        about="hallucination",
        answers=("coherence",),
        task=evidence.task,
        claim=(
            f"The share of answers that hallucinate falls smoothly with lam ({objective.upper()}), "
            "as it does with retraining."
        ),
        source="paper, hallucination in retrieval-augmented generation",
        criterion=(
            f"On the grid of lam in [0, 1], for the share of hallucinating answers, {FALLS}; "
            f"{HAS_NO_JUMP}; {FALLS_OVER_ALL}; and at every other trained beta {AS_RETRAINED}. "
            f"{PARTLY_IF_HALF}"
        ),
        figure=f"{evidence.task}/hallucination",
    )


def _controlled(evidence: Evidence, objective: str) -> Claim:
    claim = _statement(evidence, objective)
    grid = unit_grid(evidence, objective)
    if not grid:
        return claim.not_tested(COARSE_GRID)

    # the path from the reference to the aligned model, and then each retrained model beside DeRa
    reference, *_, aligned = grid
    path = smoothness(grid, "hallucinated")
    fall = evidence.difference(aligned, reference, "hallucinated")
    rows = _compare(evidence, objective, aligned)
    conditions = [
        FALLS.holds(path["Spearman"]),
        HAS_NO_JUMP.holds(path["largest step"]),
        FALLS_OVER_ALL.holds(fall),
        *(row["within the margin"] for row in rows),
    ]

    costs = {}
    for name in COSTS:
        difference = evidence.difference(aligned, reference, name)
        costs[f"cost: {name}, lam = 1 minus lam = 0"] = difference
    headline = (
        f"{mean(reference, 'hallucinated'):.0%} of the answers hallucinate at lam = 0 and "
        f"{mean(aligned, 'hallucinated'):.0%} at lam = 1; coverage goes from "
        f"{mean(reference, 'coverage'):.2f} to {mean(aligned, 'coverage'):.2f}."
    )
    return claim.decided(
        verdict(conditions),
        headline,
        {
            "lams": [float(policy.lam) for policy in grid],
            "hallucination": path,
            "lam = 1 minus lam = 0": fall,
            **costs,
            "by beta": rows,
        },
    )


def _compare(evidence: Evidence, objective: str, aligned: Policy) -> list[dict[str, Any]]:
    """Return each retrained model beside DeRa at the same strength, where DeRa was decoded there.

    The anchor's own beta is left out, because DeRa at lam = 1 is the retrained model itself.
    """
    rows = []
    for retrained in find(evidence.policies, "retrained", objective=objective):
        matching = find(
            evidence.policies,
            "dera",
            objective=objective,
            anchor=aligned.anchor,
            beta=retrained.beta,
        )
        if retrained.beta == aligned.anchor or not matching:
            continue
        (dera,) = matching
        difference = evidence.difference(retrained, dera, "hallucinated")
        rows.append(
            {
                "beta": float(retrained.beta),
                "lam": str(dera.lam),
                "retrained": mean(retrained, "hallucinated"),
                "DeRa": mean(dera, "hallucinated"),
                "difference": difference,
                "within the margin": AS_RETRAINED.holds(difference),
            }
        )
    return rows
