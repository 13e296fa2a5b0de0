"""The curve's table and its trial, on a coin whose expectation at every lam is known."""

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
    table = curve.table_of(samples, {"gold": reweight(samples, values)}, {"objective": "rloo"})
    assert table["lam"].tolist() == [0, 0.5, 1]
    assert table["sampled"].tolist() == [True, False, True]
    assert (table["completions"] == 2 * 4 * PROMPTS).all()
    # With two outcomes the known mean weight determines the answer, so the control variates leave
    # no error at all.
    assert table["gold"].tolist() == pytest.approx([heads(0.0), heads(0.5), heads(1.0)], abs=1e-9)


def test_the_trial_measures_the_errors_that_theory_predicts():
    """Brute force with k completions of P prompts errs by sqrt(p (1 - p) / (k P)) at each lam.

    The curve does not err at all.
    """
    samples, values = COIN.roll(
        curve_trial.SAMPLED_LAMS, curve_trial.LAMS, PROMPTS, curve_trial.CURVE_SAMPLES
    )
    rng = np.random.default_rng(1)
    shape = (PROMPTS, curve_trial.TRUTH_SAMPLES)
    truth = [rng.random(shape) < heads(lam) for lam in curve_trial.LAMS]
    table = curve_trial.compare(np.stack(truth, 1).astype(float), samples, values)
    errors = table.set_index(["estimator", "completions a prompt"])["error"]

    variance = np.mean([heads(lam) * (1 - heads(lam)) for lam in curve_trial.LAMS]) / PROMPTS
    for size in (1, 4):
        rest = curve_trial.TRUTH_SAMPLES - size
        theory = np.sqrt(variance * (1 / size + 1 / rest))
        error = errors["brute force", len(curve_trial.LAMS) * size]
        assert error == pytest.approx(theory, rel=0.15)
    # The truth's own error is in every comparison.
    error_of_the_truth = np.sqrt(variance / curve_trial.TRUTH_SAMPLES)
    assert errors["curve", 84] == pytest.approx(error_of_the_truth, rel=0.4)
