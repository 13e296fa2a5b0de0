"""A difference between judged shares is taken back to what a judge without errors would find."""

import numpy as np
import pytest

from eval.judge_errors import corrected
from eval.statistics import Measurement
from tasks.text.rates import JudgeErrors, Rate

OFTEN_LABELLED = 10**8


def errors(missed: float, imagined: float, labelled: int) -> JudgeErrors:
    return JudgeErrors(
        Rate(round(missed * labelled), labelled), Rate(round(imagined * labelled), labelled)
    )


def test_a_judge_that_is_known_exactly_shrinks_a_difference_by_youdens_index():
    # Of texts of which a share p refuses, the judge finds 0.7 p + 0.1 (1 - p) = 0.1 + 0.6 p.
    judged = [0.1 + share * (1 - 0.3 - 0.1) for share in (0.7, 0.2)]
    found = corrected(
        Measurement(judged[0] - judged[1], 0.03, 7, 5, 40), errors(0.3, 0.1, OFTEN_LABELLED)
    )
    assert found.value == pytest.approx(0.5, abs=1e-6)
    assert found.error == pytest.approx(0.03 / 0.6, abs=1e-6)
    assert (found.freedom, found.seeds, found.prompts) == (7, 5, 40)


def test_a_judge_without_errors_changes_nothing():
    measured = Measurement(0.2, 0.03, 7, 5, 40)
    assert corrected(measured, None) == measured
    exact = corrected(measured, errors(0, 0, OFTEN_LABELLED))
    assert exact.value == pytest.approx(0.2, abs=1e-6)


def test_no_error_among_few_labels_is_not_taken_for_none():
    few = corrected(Measurement(0.2, 0.0, 7, 5, 40), errors(0, 0, 8))
    assert few.error > 0
    assert few.value > 0.2


def test_a_judge_that_is_wrong_as_often_as_right_is_refused():
    with pytest.raises(ValueError, match="wrong as often as right"):
        corrected(Measurement(0.2, 0.03, 7, 5, 40), errors(0.6, 0.4, 100))


def test_the_interval_covers_the_true_difference_where_the_judged_one_does_not():
    """4,000 studies whose judge misses 15% and imagines 5%, known from 150 labels each.

    A 95% interval covers in 95% of the studies up to what is left of the prior and of the normal
    approximation; 0.93 is 5.8 standard errors below 95%.
    """
    rng = np.random.default_rng(0)
    true = np.array([0.75, 0.35])
    texts, labels, studies = 400, 150, 4000
    judged = 0.05 + true * (1 - 0.15 - 0.05)
    counts = rng.binomial(texts, judged, size=(studies, 2)) / texts
    missed = rng.binomial(labels, 0.15, size=studies)
    imagined = rng.binomial(labels, 0.05, size=studies)
    covered = {"judged": 0, "corrected": 0}
    for shares, wrong, invented in zip(counts, missed, imagined, strict=True):
        error = np.sqrt((shares * (1 - shares) / texts).sum())
        measured = Measurement(float(shares[0] - shares[1]), float(error), 1e6, 0, texts)
        judge = JudgeErrors(Rate(int(wrong), labels), Rate(int(invented), labels))
        for name, of in (("judged", measured), ("corrected", corrected(measured, judge))):
            low, high = of.interval()
            covered[name] += low <= true[0] - true[1] <= high
    assert covered["corrected"] / studies > 0.93
    assert covered["judged"] / studies < 0.5
