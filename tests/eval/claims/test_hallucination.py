"""Hallucination falls with lam as the closed form says, or the claim fails."""

import numpy as np
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, hallucination
from tests.eval import synthetic
from tests.eval.claims.wrong import backwards, stuck, trained_far_too_hard
from tests.eval.synthetic import evidence

INVENTING = dict(betas=["0.25", "0.5", "1"], anchor="0.25", worlds=[synthetic.INVENTING])


def test_hallucination_falls_as_the_closed_form_says():
    (claim,) = hallucination.decide(evidence(**INVENTING))
    world = synthetic.INVENTING
    assert claim.verdict == REPRODUCED
    truth = [world.mean(world.mixture(0.25, lam), "hallucinated") for lam in claim.evidence["lams"]]
    np.testing.assert_allclose(
        claim.evidence["hallucination"]["values"], truth, atol=0.05
    )  # five standard errors
    costs = claim.evidence["cost: coverage, lam = 1 minus lam = 0"]
    assert costs["value"] == pytest.approx(
        world.mean(world.optimum(0.25), "coverage") - world.mean(world.reference, "coverage"),
        abs=0.04,
    )
    assert [row["lam"] for row in claim.evidence["by beta"]] == ["1/4", "1/2"]


def test_hallucination_that_no_lam_changes_is_not_reproduced():
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=stuck))
    assert claim.verdict == FAILED


def test_hallucination_that_rises_with_lam_is_not_reproduced():
    """It is smooth, and right at the one strength half way; three of five conditions fail."""
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=backwards))
    assert claim.verdict == FAILED
    assert [row["within the margin"] for row in claim.evidence["by beta"]] == [False, True]


def test_hallucination_that_retraining_lowers_further_is_reproduced_partly():
    (claim,) = hallucination.decide(evidence(**INVENTING, retrained=trained_far_too_hard))
    assert claim.verdict == PARTLY
    assert [row["within the margin"] for row in claim.evidence["by beta"]] == [False, False]


def test_hallucination_is_not_tested_on_a_coarse_grid_nor_on_other_tasks():
    (claim,) = hallucination.decide(
        evidence(["0.25"], "0.25", ["0", "1"], worlds=[synthetic.INVENTING])
    )
    assert claim.verdict == UNTESTED
    assert hallucination.decide(evidence(["0.25"], "0.25")) == []
