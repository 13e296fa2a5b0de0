"""A smooth transition needs a fine grid, rises, and has no jumps."""

import numpy as np
import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, transition
from tests.eval.claims.wrong import always_aligned, backwards, stuck, zigzag
from tests.eval.synthetic import World, evidence

UNIT = ("0", "1/4", "1/2", "3/4", "1")


@pytest.mark.parametrize(
    ("lams", "sampler", "expected"),
    [
        (UNIT, World.mixture, [REPRODUCED]),
        (UNIT, backwards, [FAILED]),  # smooth, and the wrong way
        (UNIT, zigzag, [FAILED]),
        (UNIT, stuck, [FAILED, INCONCLUSIVE]),
        (UNIT, always_aligned, [FAILED, INCONCLUSIVE]),
        (("0", "1/2", "1"), World.mixture, [UNTESTED]),
        (("1/4", "1/2", "3/4"), World.mixture, [UNTESTED]),  # without an end
    ],
)
def test_transition_needs_a_grid_and_finds_jumps_and_the_direction(lams, sampler, expected):
    (claim,) = transition.decide(evidence(["0.25"], "0.25", lams, sampler=sampler, prompts=100))
    assert claim.verdict in expected


def test_a_jump_between_two_halves_is_no_smooth_transition():
    def step(world: World, anchor: float, lam: float) -> np.ndarray:
        return world.mixture(anchor, round(lam) + 0.04 * lam)  # strictly monotone all the same

    (claim,) = transition.decide(evidence(["0.25"], "0.25", prompts=200, sampler=step))
    assert claim.verdict == FAILED


def test_matched_lams_that_lie_close_to_others_make_no_steps_of_their_own():
    """The lams 1/8 and 1/16 match betas; each step is the longest that is at most 1/4."""
    claims = transition.decide(evidence(["0.25", "2", "4"], "0.25", UNIT, prompts=100))
    lams = [row["lam"] for row in claims[0].evidence["reward"]]
    assert lams == [0, 0.25, 0.5, 0.75, 1]
    assert claims[0].verdict == REPRODUCED
