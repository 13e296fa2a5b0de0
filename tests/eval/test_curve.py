"""The curve's table and its trial, on a coin whose expectation at every lam is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from dera import reweight
from eval import curve, curve_trial
from tests.dera.dice import Dice

COIN, PROMPTS = Dice([0.7, 0.3], [0.2, 0.8]), 128


def heads(lam: float) -> float:
    return COIN.at(lam)[1]


def test_rows_say_where_completions_were_sampled_and_how_many():
    samples, values = COIN.roll((0.0, 1.0), (0.0, 0.5, 1.0), PROMPTS, 4)
    table = curve.rows(samples, {"gold": reweight(samples, values)}, {"objective": "rloo"})
    assert table["lam"].tolist() == [0, 0.5, 1]
    assert table["sampled"].tolist() == [True, False, True]
    assert (table["completions"] == 2 * 4 * PROMPTS).all()
    # With two outcomes the known mean weight determines the answer, so the control variates leave no error at all.
    assert table["gold"].tolist() == pytest.approx([heads(0.0), heads(0.5), heads(1.0)], abs=1e-9)


def test_the_trial_measures_the_errors_that_theory_predicts():
    """Brute force with k completions of each of P prompts errs by sqrt(p (1 - p) / (k P)) at each lam; the curve not at all."""
    samples, values = COIN.roll(
        curve_trial.ANCHORS, curve_trial.LAMS, PROMPTS, curve_trial.ANCHOR_SAMPLES
    )
    rng = np.random.default_rng(1)
    truth = np.stack(
        [rng.random((PROMPTS, curve_trial.TRUTH_SAMPLES)) < heads(lam) for lam in curve_trial.LAMS],
        1,
    ).astype(float)
    table = curve_trial.compare(truth, samples, values).set_index(
        ["method", "completions a prompt"]
    )["error"]
    variance = np.mean([heads(lam) * (1 - heads(lam)) for lam in curve_trial.LAMS])
    for size in (1, 4):
        theory = np.sqrt(variance / PROMPTS * (1 / size + 1 / (curve_trial.TRUTH_SAMPLES - size)))
        assert table["brute force", len(curve_trial.LAMS) * size] == pytest.approx(theory, rel=0.15)
    truth_alone = np.sqrt(
        variance / PROMPTS / curve_trial.TRUTH_SAMPLES
    )  # the truth's own error is in every comparison
    assert table["curve", 84] == pytest.approx(truth_alone, rel=0.4)
