"""DeRa controls hallucination by the level of alignment, at some cost in coverage and length.

The claim is there for tasks whose completions are measured by `hallucinated`.
"""

from __future__ import annotations

from typing import Any

from eval.claims import Claim, Evidence, mean
from eval.claims.checks import Check, Condition, above, below, equal_within, shown
from eval.claims.evidence import MARGIN
from eval.claims.lam_grid import COARSE_GRID, SMOOTHLY, moves_smoothly, path, unit_grid
from eval.policies import Policy, find, together

QUANTITY = "hallucinated"
COSTS = ("coverage", "statements", "fluency", "length")
NOT_HIGHER = Check(
    f"retrained - DeRa in hallucination, less {MARGIN:.0%} of the whole change, is below {{:g}}",
    0.0,
    below,
)
NOT_LOWER = Check(
    f"retrained - DeRa in hallucination, plus {MARGIN:.0%} of the whole change, is above {{:g}}",
    0.0,
    above,
)


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective."""
    if QUANTITY not in evidence.policies[0].per_prompt:
        return []
    return [_controlled(evidence, objective) for objective in evidence.objectives]


def _statement(evidence: Evidence, objective: str) -> Claim:
    return Claim(
        id=f"{evidence.task}-hallucination-{objective}",
        part="paper",
        about="hallucination",
        answers=("coherence",),
        task=evidence.task,
        claim=(
            f"The share of answers that hallucinate falls smoothly with lam ({objective.upper()}), "
            "as it does with retraining."
        ),
        source="paper, hallucination in retrieval-augmented generation",
        criterion=(
            "On the grid of lam in [0, 1], for the share of answers that hallucinate, which is to "
            f"fall, {SMOOTHLY}. At every other trained beta "
            f"{NOT_HIGHER}, and {NOT_LOWER}."
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
    conditions = moves_smoothly(grid, QUANTITY, direction=-1)
    rows = []
    for retrained, dera in matching(evidence, objective):
        conditions += _equal(reference, aligned, retrained, dera)
        rows.append(_row(evidence, retrained, dera))

    costs = {}
    for name in COSTS:
        difference = evidence.difference(aligned, reference, name)
        costs[f"cost: {name}, lam = 1 minus lam = 0"] = shown(difference)
    headline = (
        f"{mean(reference, QUANTITY):.0%} of the answers hallucinate at lam = 0 and "
        f"{mean(aligned, QUANTITY):.0%} at lam = 1; coverage goes from "
        f"{mean(reference, 'coverage'):.2f} to {mean(aligned, 'coverage'):.2f}."
    )
    return claim.judged(
        conditions,
        headline,
        {**costs, "by lam": path(grid, QUANTITY), "by beta": rows},
        brief=f"from {mean(reference, QUANTITY):.0%} to {mean(aligned, QUANTITY):.0%} of answers",
    )


def matching(evidence: Evidence, objective: str) -> list[tuple[Policy, Policy]]:
    """Return each retrained model beside DeRa from the default anchor at the same strength.

    The anchor's own beta is left out, because DeRa at lam = 1 is the retrained model itself.
    """
    anchor = evidence.objectives[objective].default_beta
    pairs = []
    for retrained in evidence.find("retrained", objective):
        decoded = find(
            evidence.policies, "dera", objective=objective, anchor=anchor, beta=retrained.beta
        )
        if retrained.beta != anchor and decoded:
            pairs.append((retrained, decoded[0]))
    return pairs


def _equal(reference: Policy, aligned: Policy, retrained: Policy, dera: Policy) -> list[Condition]:
    """Return the two conditions that DeRa hallucinates as often as the retrained model.

    The margin is a share of the whole change from lam = 0 to lam = 1, which is a fall.
    """
    at_0, at_1, of_retrained, of_dera = together(QUANTITY, reference, aligned, retrained, dera)
    name = f"beta = {float(retrained.beta or 0):g}"
    difference = of_retrained - of_dera
    return equal_within(name, NOT_HIGHER, NOT_LOWER, difference, at_0 - at_1, MARGIN)


def _row(evidence: Evidence, retrained: Policy, dera: Policy) -> dict[str, Any]:
    return {
        "beta": float(retrained.beta or 0),
        "lam": str(dera.lam),
        "retrained": mean(retrained, QUANTITY),
        "DeRa": mean(dera, QUANTITY),
        "retrained - DeRa": shown(evidence.difference(retrained, dera, QUANTITY)),
    }
