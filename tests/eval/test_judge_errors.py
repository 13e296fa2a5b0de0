"""A change in a judged share is taken back to what a judge without errors would find."""

import numpy as np
import pytest

from eval.judge_errors import corrected
from eval.statistics import measure
from tasks.text.rates import JudgeErrors, Rate

OFTEN_LABELLED = 10**8


def errors(missed: float, imagined: float, labelled: int) -> JudgeErrors:
    return JudgeErrors(
        Rate(round(missed * labelled), labelled), Rate(round(imagined * labelled), labelled)
    )


def judged(refuses, whole, missed, imagined):
    """What a judge finds of shares that refuse and shares that are whole."""
    return refuses * (1 - missed) + (whole - refuses) * imagined


@pytest.fixture
def policies():
    """The true shares of two policies, by seed and prompt: whole, and refusing."""
    rng = np.random.default_rng(0)
    whole = [rng.uniform(0.8, 1, (5, 30)), rng.uniform(0.5, 0.8, (5, 30))]
    return whole, [rng.uniform(0, 1, (5, 30)) * of_policy for of_policy in whole]


def test_refusals_that_a_known_judge_found_become_the_true_ones(policies):
    """More text is broken under the second policy, which must not count as fewer refusals."""
    whole, refuses = policies
    found = [judged(*shares, 0.3, 0.1) for shares in zip(refuses, whole, strict=True)]
    change = corrected(found[1] - found[0], whole[1] - whole[0], errors(0.3, 0.1, OFTEN_LABELLED))
    expected = measure(refuses[1] - refuses[0])
    assert change.value == pytest.approx(expected.value, abs=1e-6)
    assert change.error == pytest.approx(expected.error, rel=1e-3)
    assert (change.seeds, change.prompts) == (5, 30)


def test_help_that_a_known_judge_found_becomes_the_true_help(policies):
    """A missed refusal is imagined help."""
    whole, refuses = policies
    helps = [of - share for of, share in zip(whole, refuses, strict=True)]
    found = [of - judged(share, of, 0.3, 0.1) for share, of in zip(refuses, whole, strict=True)]
    judge = errors(0.3, 0.1, OFTEN_LABELLED).swapped()
    change = corrected(found[1] - found[0], whole[1] - whole[0], judge)
    assert change.value == pytest.approx((helps[1] - helps[0]).mean(), abs=1e-6)


def test_prompts_that_a_share_does_not_apply_to_are_left_out(policies):
    whole, refuses = policies
    change = refuses[1] - refuses[0]
    change[:, 10:] = np.nan
    of_whole = whole[1] - whole[0]
    judge = errors(0.2, 0.1, 50)
    cut = corrected(change[:, :10], of_whole[:, :10], judge)
    found = corrected(change, of_whole, judge)
    assert (found.value, found.error, found.prompts) == (cut.value, pytest.approx(cut.error), 10)


def test_no_error_among_few_labels_is_not_taken_for_none():
    exact = corrected(np.full((2, 4), 0.2), np.zeros((2, 4)), errors(0, 0, OFTEN_LABELLED))
    few = corrected(np.full((2, 4), 0.2), np.zeros((2, 4)), errors(0, 0, 8))
    assert exact.value == pytest.approx(0.2, abs=1e-6)
    assert few.error > exact.error
    assert few.value > 0.2


@pytest.mark.parametrize(
    ("missed", "imagined", "usable"),
    [
        (Rate(2, 10), Rate(1, 10), True),
        (Rate(0, 1), Rate(0, 1), True),
        (Rate(6, 10), Rate(4, 10), False),
        (Rate(0, 0), Rate(0, 9), False),
        (Rate(3, 2), Rate(0, 9), False),
        (Rate(0, 9), Rate(-1, 9), False),
    ],
)
def test_a_judge_that_tells_no_more_than_chance_is_not_usable(missed, imagined, usable):
    assert JudgeErrors(missed, imagined).are_usable() is usable


def test_the_interval_covers_the_true_change_where_the_judged_one_does_not():
    """2,000 studies of 30 prompts, whose judge misses 15% and imagines 5%, known from 150 labels.

    A 95% interval covers in 95% of the studies up to what is left of the prior and of the normal
    approximation; 0.93 is four standard errors below 95%.
    """
    rng = np.random.default_rng(1)
    prompts, texts, labels, studies = 30, 12, 150, 2000
    covered = {"judged": 0, "corrected": 0}
    for _ in range(studies):
        found = []
        for share, whole in ((0.35, 0.95), (0.75, 0.9)):
            is_whole = rng.random((1, prompts, texts)) < whole
            refuses = is_whole & (rng.random(is_whole.shape) < share / whole)
            chance = np.where(refuses, 1 - 0.15, np.where(is_whole, 0.05, 0))
            found.append(((rng.random(is_whole.shape) < chance).mean(-1), is_whole.mean(-1)))
        change, of_whole = (second - first for first, second in zip(*found, strict=True))
        judge = JudgeErrors(
            Rate(int(rng.binomial(labels, 0.15)), labels),
            Rate(int(rng.binomial(labels, 0.05)), labels),
        )
        for name, measured in (
            ("judged", measure(change)),
            ("corrected", corrected(change, of_whole, judge)),
        ):
            low, high = measured.interval()
            covered[name] += low <= 0.4 <= high
    assert covered["corrected"] / studies > 0.93
    assert covered["judged"] / studies < 0.5
