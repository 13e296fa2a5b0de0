"""DeRa moves smoothly between the reference and the aligned model."""

from __future__ import annotations

from eval.claims import Claim, Evidence, mean
from eval.claims.lam_grid import COARSE_GRID, SMOOTHLY, moves_smoothly, path, unit_grid

QUANTITIES = ("reward", "kl")


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective, over the fine grid of its default anchor."""
    return [_smooth(evidence, objective) for objective in evidence.objectives]


def _smooth(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-smooth-{objective}",
        part="paper",
        about="smooth",
        task=evidence.task,
        claim=(
            "Between lam = 0 and lam = 1, reward and KL rise with lam and make no jumps "
            f"({objective.upper()})."
        ),
        source="paper, abstract",
        criterion=(
            "On the grid of lam in [0, 1], for reward and for KL, both of which are to rise, "
            f"{SMOOTHLY}."
        ),
        figure=f"{evidence.task}/lam_curve",
    )
    grid = unit_grid(evidence, objective)
    if not grid:
        return claim.not_tested(COARSE_GRID)
    conditions = []
    for quantity in QUANTITIES:
        conditions += moves_smoothly(grid, quantity, direction=1)
    reference, *_, aligned = grid
    headline = (
        f"Over {len(grid)} lams the reward goes from {mean(reference, 'reward'):.2f} to "
        f"{mean(aligned, 'reward'):.2f}, and the KL to the reference reaches "
        f"{mean(aligned, 'kl'):.2f} nats."
    )
    paths = {quantity: path(grid, quantity) for quantity in QUANTITIES}
    brief = f"reward from {mean(reference, 'reward'):.2f} to {mean(aligned, 'reward'):.2f}"
    return claim.judged(conditions, headline, paths, brief=brief)
