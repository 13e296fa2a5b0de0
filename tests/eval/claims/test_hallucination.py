"""Hallucination falls with lam as the closed form says, or the claim fails."""

import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, hallucination
from tests.eval import synthetic
from tests.eval.claims.wrong import always_aligned, backwards, stuck, trained_far_too_hard
from tests.eval.synthetic import evidence

INVENTING = dict(
    betas=["0.25", "0.5", "1"], anchor="0.25", worlds=[synthetic.INVENTING], prompts=100
)


def test_hallucination_falls_as_the_closed_form_says():
    (claim,) = hallucination.decide(evidence(**INVENTING))
    world = synthetic.INVENTING
    assert claim.verdict == REPRODUCED
    for row in claim.evidence["by lam"]:  # five standard errors of 100 prompts of 80 completions
        truth = world.mean(world.mixture(0.25, row["lam"]), "hallucinated")
        assert row["hallucinated"] == pytest.approx(truth, abs=0.03)
    cost = claim.evidence["cost: coverage, lam = 1 minus lam = 0"]
    change = world.mean(world.optimum(0.25), "coverage") - world.mean(world.reference, "coverage")
    assert cost["value"] == pytest.approx(change, abs=0.03)
    assert [row["lam"] for row in claim.evidence["by beta"]] == ["1/4", "1/2"]


@pytest.mark.parametrize("sampler", [stuck, always_aligned])
def test_hallucination_that_no_lam_changes_is_not_reproduced(sampler):
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=sampler))
    assert claim.verdict in (FAILED, INCONCLUSIVE)


def test_hallucination_that_rises_with_lam_is_refuted():
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=backwards))
    assert claim.verdict == FAILED


def test_hallucination_that_retraining_lowers_further_is_refuted():
    (claim,) = hallucination.decide(evidence(**INVENTING, retrained=trained_far_too_hard))
    assert claim.verdict == FAILED


def test_hallucination_is_not_tested_on_a_coarse_grid_nor_on_other_tasks():
    (claim,) = hallucination.decide(
        evidence(["0.25"], "0.25", ["0", "1"], worlds=[synthetic.INVENTING])
    )
    assert claim.verdict == UNTESTED
    assert hallucination.decide(evidence(["0.25"], "0.25")) == []
