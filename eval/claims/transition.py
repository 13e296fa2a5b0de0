"""DeRa moves smoothly between the reference and the aligned model."""

from __future__ import annotations

from eval.claims import PARTLY_IF_HALF, Claim, Evidence, verdict
from eval.claims.lam_grid import COARSE_GRID, HAS_NO_JUMP, RISES, smoothness, unit_grid

QUANTITIES = ("reward", "kl")


def decide(evidence: Evidence) -> list[Claim]:
    """Return one claim for each objective, over the fine grid of its default anchor."""
    return [_smooth(evidence, objective) for objective in evidence.objectives]


def _smooth(evidence: Evidence, objective: str) -> Claim:
    claim = Claim(
        id=f"{evidence.task}-smooth-{objective}",
        about="smooth",
        task=evidence.task,
        claim=(
            "Between lam = 0 and lam = 1, reward and KL move monotonically and without jumps "
            f"({objective.upper()})."
        ),
        source="paper, abstract",
        criterion=(
            f"On the grid of lam in [0, 1], for reward and for KL, {RISES}, and {HAS_NO_JUMP}. "
            f"{PARTLY_IF_HALF}"
        ),
        figure=f"{evidence.task}/lam_curve",
    )
    grid = unit_grid(evidence, objective)
    if not grid:
        return claim.not_tested(COARSE_GRID)

    # both conditions for both quantities
    paths = {quantity: smoothness(grid, quantity) for quantity in QUANTITIES}
    conditions = []
    for path in paths.values():
        conditions.append(RISES.holds(path["Spearman"]))
        conditions.append(HAS_NO_JUMP.holds(path["largest step"]))

    reward = paths["reward"]
    kl = paths["kl"]
    headline = (
        f"Over {len(grid)} lams the reward goes from {reward['values'][0]:.2f} to "
        f"{reward['values'][-1]:.2f} (Spearman {_correlation(reward)}), and the KL reaches "
        f"{kl['values'][-1]:.2f} nats (Spearman {_correlation(kl)})."
    )
    lams = [float(policy.lam) for policy in grid]
    return claim.decided(verdict(conditions), headline, {"lams": lams, **paths})


def _correlation(path: dict) -> str:
    return "none" if path["Spearman"] is None else f"{path['Spearman']:.2f}"
