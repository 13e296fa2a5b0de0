"""Agreement of DeRa with retrained models as distributions over completions."""

from fractions import Fraction

import numpy as np
import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, agreement
from tests.eval.claims.wrong import (
    BETAS,
    always_aligned,
    by_kind,
    same_mean_reward,
    stuck,
    too_far,
    trained_far_too_hard,
)
from tests.eval.synthetic import LENGTH, evidence

ANCHOR = "0.5"


def both_sides(**more):
    """The claims of interpolation and of extrapolation from one anchor."""
    claims = agreement.decide(evidence(BETAS, ANCHOR, **more))
    return by_kind(claims, "interpolation"), by_kind(claims, "extrapolation")


def test_a_perfect_dera_agrees_on_both_sides():
    for claim, betas in zip(both_sides(), ([2, 1], [0.25]), strict=True):
        assert claim.verdict == REPRODUCED
        assert [row["beta"] for row in claim.evidence["by beta"]] == betas
        for row in claim.evidence["by beta"]:
            assert row["seeds within the window"] == "5 of 5"
            assert row["share explained"] > 0.9


def test_the_kl_that_is_shown_is_that_of_the_closed_form():
    claim, _ = both_sides(noise=0.0)
    row = claim.evidence["by beta"][1]
    model = LENGTH.optimum(1.0)
    exact = float(model @ np.log(model / LENGTH.reference))
    assert row["KL to the reference"]["value"] == pytest.approx(exact, rel=0.05)
    assert row["KL to DeRa, across seeds"]["value"] == pytest.approx(0, abs=1e-9)
    assert row["floor"]["value"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "sampler",
    [too_far(1.3), too_far(1.5), too_far(1 / 1.5), stuck, always_aligned, same_mean_reward],
)
def test_a_broken_dera_agrees_on_neither_side(sampler):
    for claim in both_sides(sampler=sampler):
        assert claim.verdict in (FAILED, INCONCLUSIVE)


@pytest.mark.parametrize("sampler", [too_far(1.5), same_mean_reward])
def test_a_dera_that_is_clearly_off_is_refuted(sampler):
    assert both_sides(sampler=sampler)[0].verdict == FAILED


def test_a_dera_that_is_wrong_above_one_alone_still_interpolates():
    def wrong_beyond(world, anchor, lam):
        return world.mixture(anchor, lam if lam <= 1.3 else 3 * lam)

    interpolation, extrapolation = both_sides(sampler=wrong_beyond)
    assert interpolation.verdict == REPRODUCED
    assert extrapolation.verdict != REPRODUCED


def test_nothing_is_said_where_training_has_not_converged():
    for claim in both_sides(retrained=trained_far_too_hard):
        assert claim.verdict == UNTESTED
        assert "has not converged" in claim.headline


def test_a_beta_that_is_no_further_from_the_reference_than_from_another_seed_does_not_count():
    interpolation, _ = both_sides(noise=0.6, prompts=32)
    assert interpolation.verdict == UNTESTED
    assert "not informative" in interpolation.headline


def test_four_seeds_are_too_few():
    for claim in both_sides(seeds=4):
        assert claim.verdict == UNTESTED
        assert "needs 5 training seeds, and there are 4" in claim.headline


def test_with_one_seed_nothing_was_read_by_another():
    for claim in both_sides(seeds=1):
        assert claim.verdict == UNTESTED
        assert "one training seed" in claim.headline


def test_at_lam_one_dera_is_its_own_model_and_another_model_is_not():
    claims = agreement.decide(evidence(BETAS, ANCHOR, noise=0.0))
    assert by_kind(claims, "own-model").verdict == REPRODUCED
    claims = agreement.decide(evidence(BETAS, ANCHOR, noise=0.0, sampler=too_far(1.5)))
    assert by_kind(claims, "own-model").verdict == FAILED


def test_the_table_has_a_row_for_each_other_beta():
    table = agreement.table(evidence(BETAS, ANCHOR, prompts=512))
    assert sorted(table["beta"]) == [0.25, 1, 2]
    assert table["premise"].all()
    assert (table["excess_low"] <= table["excess"]).all()
    lams = [float(Fraction(ANCHOR) / Fraction(str(beta))) for beta in table["beta"]]
    assert table["lam"].tolist() == pytest.approx(lams)
