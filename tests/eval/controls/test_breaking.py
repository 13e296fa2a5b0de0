"""What controls do to completions and to readings, against exact models."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from eval.controls import CONTROLS, breaking
from eval.readings import Readings
from tests.eval import synthetic
from tests.eval.synthetic import LENGTH, kl

BETAS, ANCHOR = ["0.25", "0.5", "1", "2"], "0.5"
BY_NAME = {control.name: control for control in CONTROLS}


@pytest.fixture(scope="module")
def exact() -> Readings:
    """Readings in which seeds and prompts make no difference."""
    return synthetic.readings(BETAS, [ANCHOR], prompts=3, seeds=2, noise=0.0, spread=0.0)


def exact_kl(beta: float, lam: float) -> float:
    return float(kl(LENGTH.optimum(beta), LENGTH.mixture(float(ANCHOR), lam)))


@pytest.mark.parametrize("scale", [0.8, 1.3, 1.5])
@pytest.mark.parametrize("beta", BETAS)
def test_a_scaled_lam_has_the_exact_kl_at_that_lam(exact, scale, beta):
    """Between the factors of the grid a curve is interpolated, here to 0.00005 nats."""
    moved = breaking.scaled_readings(scale)(exact, synthetic.judging(BETAS, [ANCHOR]))
    factors, curves = moved.dera("rloo", Fraction(beta), Fraction(ANCHOR), across=True)
    _, slopes = moved.dera("rloo", Fraction(beta), Fraction(ANCHOR), across=True, column="slope")
    matched = 0.5 / float(beta)
    inside = factors * scale <= factors[-1]
    inside &= factors * scale >= factors[0]
    assert inside.sum() > 10
    for factor, curve, slope in zip(
        factors[inside], curves[0, 0, inside], slopes[0, 0, inside], strict=True
    ):
        lam = matched * factor * scale
        assert curve == pytest.approx(exact_kl(float(beta), lam), rel=2e-3, abs=5e-5)
        step = 1e-4
        change = exact_kl(float(beta), lam + step) - exact_kl(float(beta), lam - step)
        # the lam that is asked for moves the lam that is decoded by the scale
        assert slope == pytest.approx(scale * change / (2 * step), rel=0.03, abs=2e-4)


def test_beyond_its_ends_a_curve_goes_on_along_its_tangent_and_below_the_exact_one(exact):
    moved = breaking.scaled_readings(1.5)(exact, synthetic.judging(BETAS, [ANCHOR]))
    factors, curves = moved.dera("rloo", Fraction(1), Fraction(ANCHOR), across=True)
    beyond = curves[0, 0, -1]
    truth = exact_kl(1.0, 0.5 * factors[-1] * 1.5)
    before = exact_kl(1.0, 0.5 * factors[-1])
    assert before < beyond <= truth + 1e-6


def test_lam_ignored_has_one_kl_and_no_slope(exact):
    moved = breaking.readings_at_one(exact, synthetic.judging(BETAS, [ANCHOR]))
    for beta in BETAS:
        _, curves = moved.dera("rloo", Fraction(beta), Fraction(ANCHOR), across=False)
        np.testing.assert_allclose(curves, exact_kl(float(beta), 1.0), rtol=2e-3, atol=5e-5)
        _, slopes = moved.dera(
            "rloo", Fraction(beta), Fraction(ANCHOR), across=False, column="slope"
        )
        np.testing.assert_allclose(slopes, 0, atol=1e-12)


def test_a_shuffled_beta_leaves_lam_where_it_was(exact):
    moved = breaking.readings_of_other_betas(exact, synthetic.judging(BETAS, [ANCHOR])).table
    dera = moved[moved["reader"] == "dera"]
    matched = 0.5 / dera["beta"].astype(float)
    np.testing.assert_allclose(dera["lam"], dera["factor"] * matched)
    following = {"0.25": "0.5", "0.5": "1", "1": "2", "2": "0.25"}
    for beta, label in following.items():
        rows = dera[dera["beta"] == label]
        for row in rows.drop_duplicates("factor").itertuples():
            if 0.25 <= row.lam / (0.5 / float(beta)) <= 4:
                assert row.kl == pytest.approx(exact_kl(float(beta), row.lam), rel=2e-3, abs=5e-5)
    references = moved[moved["reader"] == "reference"].drop_duplicates("beta")
    for row in references.itertuples():
        trained = next(beta for beta, label in following.items() if label == row.beta)
        assert row.kl == pytest.approx(float(kl(LENGTH.optimum(float(trained)), LENGTH.reference)))


def test_a_retrained_model_that_is_the_reference_is_at_no_distance_from_it(exact):
    moved = breaking.readings_of_reference(exact, synthetic.judging(BETAS, [ANCHOR]))
    for beta in BETAS:
        np.testing.assert_array_equal(moved.to_reference("rloo", Fraction(beta)), 0)
        factors, curves = moved.dera("rloo", Fraction(beta), Fraction(ANCHOR), across=True)
        assert (np.diff(curves, axis=-1) > 0).all()  # the further from lam = 0, the further


def lams_of(table: pd.DataFrame) -> dict[str, float]:
    """The mean reward of DeRa at each lam, which tells at which lam it was decoded."""
    dera = table[table["kind"] == "dera"]
    return dera.groupby("lam")["gold"].mean().to_dict()


@pytest.fixture(scope="module")
def length():
    """A perfect study of five seeds, which no test may change."""
    lams = ("-1", "0", "1/4", "1/2", "3/4", "1", "2", "4")
    return synthetic.study(BETAS, ANCHOR, lams, prompts=48, samples=8)


def decoded_at(length, control: str) -> dict[str, str]:
    """For each lam the lam whose completions it has under a control."""
    table, _, judging = length
    before = {gold: lam for lam, gold in lams_of(table).items()}
    assert len(before) == 8  # all differ
    after = lams_of(BY_NAME[control].completions(table, judging))
    return {lam: before[gold] for lam, gold in after.items()}


def test_each_lam_gets_the_completions_that_its_control_says(length):
    grid = ["-1", "0", "1/4", "1/2", "3/4", "1", "2", "4"]
    assert set(decoded_at(length, "lam ignored").values()) == {"1"}
    reversed_lams = decoded_at(length, "lam reversed")
    expected = {"0": "1", "1/4": "3/4", "1/2": "1/2", "3/4": "1/4", "1": "0"}
    assert {lam: reversed_lams[lam] for lam in expected} == expected
    assert {lam: reversed_lams[lam] for lam in ("-1", "2", "4")} == {"-1": "-1", "2": "2", "4": "4"}
    assert all(lam != other for lam, other in decoded_at(length, "lam shuffled").items())
    nearest = decoded_at(length, "lam x 1.5")
    assert {lam: nearest[lam] for lam in ("1/2", "0")} == {"1/2": "3/4", "0": "0"}
    beyond = decoded_at(length, "broken text")
    assert {lam: beyond[lam] for lam in grid} == {lam: "4" if lam == "2" else lam for lam in grid}


def test_a_lam_keeps_the_beta_that_it_stands_for(length):
    table, _, judging = length
    for control in ("lam ignored", "lam reversed", "lam shuffled", "lam x 1.3"):
        broken = BY_NAME[control].completions(table, judging)
        dera = broken[(broken["kind"] == "dera") & broken["beta"].notna()]
        pairs = dera[["lam", "beta"]].drop_duplicates()
        for pair in pairs.itertuples():
            assert Fraction(pair.lam) * Fraction(pair.beta) == Fraction("0.5")


@pytest.mark.parametrize("control", BY_NAME)
def test_controls_leave_alone_what_they_do_not_break(length, control):
    """Nor do they change the evidence that they are given."""
    table, read, judging = length
    table_before, read_before = table.copy(), read.table.copy()
    broken = BY_NAME[control].completions(table, judging)
    broken_readings = BY_NAME[control].readings(read, judging).table
    pd.testing.assert_frame_equal(table, table_before)
    pd.testing.assert_frame_equal(read.table, read_before)
    assert len(broken) == len(table)
    assert len(broken_readings) == len(read.table)
    assert not broken["gold"].isna().any()
    assert not broken_readings["kl"].isna().any()

    # the reference's completions are the same
    kept = ["reference"]
    if control not in ("beta shuffled", "retrained is the reference", "heavy noise"):
        kept.append("retrained")
    for kind in kept:
        of_kind = table[table["kind"] == kind].reset_index(drop=True)
        after = broken[broken["kind"] == kind].reset_index(drop=True)
        pd.testing.assert_frame_equal(after[of_kind.columns], of_kind)
        if kind == "retrained":
            readers = ("reference", "retrained")
            is_kept = read.table["reader"].isin(readers)
            is_kept_after = broken_readings["reader"].isin(readers)
            np.testing.assert_array_equal(
                broken_readings.loc[is_kept_after, "kl"], read.table.loc[is_kept, "kl"]
            )


def test_collapsed_completions_keep_the_reward_and_lose_their_variety(length):
    table, _, judging = length
    broken = BY_NAME["collapsed"].completions(table, judging)
    dera, before = broken[broken["kind"] == "dera"], table[table["kind"] == "dera"]
    assert dera["gold"].mean() == pytest.approx(before["gold"].mean())
    key = ["seed", "lam", "prompt_id", "gold"]
    assert dera.groupby(key)["length"].nunique().max() == 1
    assert before.groupby(key)["length"].nunique().max() > 1


def test_broken_text_is_broken_above_1_alone(length):
    table, _, judging = length
    broken = BY_NAME["broken text"].completions(table, judging)
    dera = broken[broken["kind"] == "dera"]
    by_lam = dera.groupby("lam")["broken"].mean()
    assert {lam: share for lam, share in by_lam.items() if share} == {"2": 1.0, "4": 1.0}


def test_noise_is_as_large_as_what_alignment_moves_and_one_error_a_policy_and_seed(length):
    """Of some hundred errors the standard deviation is off by 30% once in 10,000 times."""
    table, _, judging = length
    noisy = BY_NAME["heavy noise"].completions(table, judging)
    is_retrained = table["kind"] == "retrained"
    size = abs(
        table.loc[is_retrained, "gold"].mean()
        - table.loc[table["kind"] == "reference", "gold"].mean()
    )
    error = (noisy["gold"] - table["gold"])[table["kind"] != "reference"]
    labels = table.loc[error.index, ["kind", "beta", "lam", "seed"]]
    policy = labels.astype(object).fillna("-").astype(str).agg("/".join, axis=1)
    by_policy = error.groupby(policy)
    assert by_policy.std().max() == pytest.approx(0, abs=1e-9)
    assert by_policy.mean().std() == pytest.approx(size, rel=0.35)


@pytest.mark.parametrize("control", BY_NAME)
def test_a_study_without_readings_has_none_under_a_control(length, control):
    *_, judging = length
    assert len(BY_NAME[control].readings(Readings(), judging).table) == 0
