"""What tests of claims share: decoders and trainers that are wrong, and the verdicts."""

import numpy as np

from eval.claims import Claim
from tests.eval.synthetic import World

BETAS = ["0.25", "0.5", "1", "2"]
#: Mixing weights far outside [0, 1], too.
OUTSIDE = ["-4", "-2", "-1", "0", "1/4", "1/2", "3/4", "1", "2", "4", "6"]


def stuck(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that is the reference at every lam."""
    return world.reference


def always_aligned(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that is the aligned model at every lam."""
    return world.optimum(anchor)


def zigzag(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that jumps between the reference and the aligned model."""
    return world.optimum(anchor) if lam in (0.25, 0.75, 1) else world.reference


def backwards(world: World, anchor: float, lam: float) -> np.ndarray:
    return world.mixture(anchor, 1 - lam)


def too_far(scale: float):
    """A decoder that is at a multiple of lam."""

    def sampler(world: World, anchor: float, lam: float) -> np.ndarray:
        return world.mixture(anchor, scale * lam)

    return sampler


def same_mean_reward(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder of the right mean reward that writes one completion for each reward."""
    exact = world.mixture(anchor, lam)
    reward = world.measures[world.reward]
    collapsed = np.full(len(exact), 1e-4)
    for value in np.unique(reward):
        first = np.flatnonzero(reward == value)[0]
        collapsed[first] += exact[reward == value].sum()
    return collapsed / collapsed.sum()


def trained_far_too_hard(world: World, beta: float) -> np.ndarray:
    return world.optimum(0.3 * beta)


def verdicts(claims: list[Claim]) -> list[str]:
    return [claim.verdict for claim in claims]


def by_kind(claims: list[Claim], kind: str) -> Claim:
    """The one claim that has this word in its id."""
    (claim,) = [claim for claim in claims if f"-{kind}-" in f"-{claim.id}-"]
    return claim
