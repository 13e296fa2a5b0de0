"""A smooth transition needs a fine grid, and jumps are found."""

import numpy as np
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, transition
from tests.eval.claims.wrong import backwards, zigzag
from tests.eval.synthetic import World, evidence


@pytest.mark.parametrize(
    ("lams", "sampler", "expected"),
    [
        (("0", "1/4", "1/2", "3/4", "1"), World.mixture, REPRODUCED),
        (("0", "1/4", "1/2", "3/4", "1"), backwards, PARTLY),  # smooth, and the wrong way
        (("0", "1/4", "1/2", "3/4", "1"), zigzag, FAILED),
        (("0", "1/2", "1"), World.mixture, UNTESTED),
        (("1/4", "1/2", "3/4"), World.mixture, UNTESTED),  # without an end
    ],
)
def test_transition_needs_a_grid_and_finds_jumps(lams, sampler, expected):
    (claim,) = transition.decide(evidence(["0.25"], "0.25", lams, sampler=sampler))
    assert claim.verdict == expected


def test_a_jump_between_two_halves_is_no_smooth_transition():
    def step(world: World, anchor: float, lam: float) -> np.ndarray:
        return world.mixture(anchor, round(lam) + 0.04 * lam)  # strictly monotone all the same

    (claim,) = transition.decide(evidence(["0.25"], "0.25", prompts=400, sampler=step))
    assert claim.verdict in (PARTLY, FAILED)
    assert claim.evidence["reward"]["largest step"] > 0.9
