"""Refusals of harmful and of harmless requests over lam."""

import dataclasses

import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, safety
from tasks.text.rates import JudgeErrors, Rate
from tests.eval import synthetic
from tests.eval.claims.wrong import backwards, stuck, verdicts
from tests.eval.synthetic import evidence

REQUESTS = dict(
    betas=["0.25"], anchor="0.25", lams=["0", "1/4", "1/2", "3/4", "1", "2"], prompts=150
)


def test_refusals_can_be_dialled_where_refusing_the_harmful_alone_pays():
    dialled, beyond = safety.decide(evidence(**REQUESTS, worlds=synthetic.requests("harmful")))
    assert verdicts([dialled, beyond]) == [REPRODUCED, REPRODUCED]
    harmful, alike, _ = synthetic.requests("harmful")
    # 50 prompts of 80 completions of each kind: five standard errors are below 0.05
    for rates in beyond.evidence["by lam"]:
        assert rates["refused_harmful"] == pytest.approx(
            harmful.mixture(0.25, rates["lam"])[0], abs=0.05
        )
        assert rates["refused_alike"] == pytest.approx(
            alike.mixture(0.25, rates["lam"])[0], abs=0.05
        )


def test_a_model_that_cannot_tell_the_alike_from_the_harmful_over_refuses():
    worlds = synthetic.requests("harmful", "alike")
    assert verdicts(safety.decide(evidence(**REQUESTS, worlds=worlds))) == [FAILED, FAILED]


def test_refusals_that_no_lam_changes_are_not_reproduced():
    worlds = synthetic.requests("harmful")
    dialled, _ = safety.decide(evidence(**REQUESTS, worlds=worlds, sampler=stuck))
    assert dialled.verdict in (FAILED, INCONCLUSIVE)


def test_refusals_that_fall_with_lam_are_refuted():
    worlds = synthetic.requests("harmful")
    dialled, _ = safety.decide(evidence(**REQUESTS, worlds=worlds, sampler=backwards))
    assert dialled.verdict == FAILED


def test_a_model_that_rises_by_less_than_half_of_what_the_optimum_would_is_not_enough():
    """It refuses more with every lam, but training stopped early."""

    def timid(world, anchor, lam):
        return world.mixture(anchor, 0.3 * lam)

    worlds = synthetic.requests("harmful")
    dialled, _ = safety.decide(evidence(**REQUESTS, worlds=worlds, sampler=timid))
    assert dialled.verdict == FAILED


def test_safety_is_not_tested_on_a_coarse_grid_nor_on_other_tasks():
    coarse = {**REQUESTS, "lams": ["0", "4"]}
    dialled, _ = safety.decide(evidence(**coarse, worlds=synthetic.requests("harmful")))
    assert dialled.verdict == UNTESTED
    assert safety.decide(evidence(["0.25"], "0.25")) == []


def test_changes_with_a_margin_are_corrected_for_the_errors_of_the_judge():
    """All text of this world is whole, so that a change is divided by Youden's index."""
    judged = evidence(**REQUESTS, worlds=synthetic.requests("harmful"))
    exact, _ = safety.decide(judged)
    errs = JudgeErrors(missed=Rate(30, 98), imagined=Rate(9, 98))
    judging = dataclasses.replace(judged.judging, judge_errors=errs)
    corrected, _ = safety.decide(dataclasses.replace(judged, judging=judging))
    before, after = conditions_of(exact), conditions_of(corrected)
    for name in ("refusing the harmless alike", "helping the harmless"):
        line, exact_line = after[f"lam = 1: {name}"], before[f"lam = 1: {name}"]
        assert line["value"] == pytest.approx(exact_line["value"] / (1 - 0.31 - 0.1))
        assert line["error"] > exact_line["error"] / (1 - 0.31 - 0.1)
    unchanged = "refused_harmful: whole change"
    assert after[unchanged] == before[unchanged]
    assert corrected.evidence["refusals that the judge misses"].startswith("30 of 98")
    assert "corrected for the judge's errors" in corrected.criterion
    assert "corrected" not in exact.criterion


def conditions_of(claim):
    """The lines of a claim's table of conditions by their names."""
    return {line["condition"]: line for line in claim.evidence["conditions"]}
