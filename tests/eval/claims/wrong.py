"""What tests of claims share: decoders and trainers that are wrong, and the verdicts."""

import numpy as np

from tests.eval.synthetic import World

BETAS = ["0.25", "0.5", "1", "2"]
#: Mixing weights far outside [0, 1], too.
OUTSIDE = ["-4", "-2", "-1", "0", "1/2", "1", "2", "4", "6"]


def stuck(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that is the reference at every lam."""
    return world.reference


def zigzag(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that jumps between the reference and the aligned model."""
    return world.optimum(anchor) if lam in (0.25, 0.75) else world.reference


def backwards(world: World, anchor: float, lam: float) -> np.ndarray:
    return world.mixture(anchor, 1 - lam)


def trained_far_too_hard(world: World, beta: float) -> np.ndarray:
    return world.optimum(0.3 * beta)


def verdicts(claims) -> list[str]:
    return [claim.verdict for claim in claims]
