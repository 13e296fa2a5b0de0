"""Reweighting against closed forms on a space small enough to enumerate."""

import numpy as np
import pytest
from scipy import special, stats

from dera import estimators

REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
REWARD = np.array([-1.0, 0.0, -1.0, 0.0])
BETA = 0.5


def optimum():
    unnormalised = REFERENCE * np.exp(REWARD / BETA)
    return unnormalised / unnormalised.sum()


def drawn(samples: int, prompts: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(4, p=REFERENCE, size=(prompts, samples))


def test_every_outcome_once_gives_the_exact_answer():
    """A sample that is the distribution itself leaves only the jackknife's correction.

    That is of order one over its 2000 draws.
    """
    outcomes = np.repeat([0] * 4 + [1] * 3 + [2] * 2 + [3], 200)[None]
    log_weights = REWARD[outcomes] / BETA
    mean = optimum() @ REWARD
    kl = optimum() @ np.log(optimum() / REFERENCE)
    log_normalizer = np.log(REFERENCE @ np.exp(REWARD / BETA))
    close = dict(abs=1e-3)
    assert estimators.reweighted_mean(REWARD[outcomes], log_weights) == pytest.approx(mean, **close)
    assert estimators.kl_to_reference(log_weights, log_weights) == pytest.approx(kl, **close)
    assert estimators.log_normalizer(log_weights) == pytest.approx(log_normalizer, **close)
    gap = REFERENCE @ np.log(REFERENCE / optimum())
    assert estimators.approximation_gap(log_weights) == pytest.approx(gap, **close)


def test_the_jackknife_removes_most_of_the_bias_of_few_samples():
    """Over 20000 prompts a mean errs by about 0.002.

    The plain estimator from 8 samples is off by more than ten times that.
    """
    outcomes = drawn(samples=8, prompts=20_000)
    values = REWARD[outcomes]
    log_weights = values / BETA
    truth = optimum() @ REWARD
    plain = (special.softmax(log_weights, -1) * values).sum(-1).mean() - truth
    jackknifed = estimators.reweighted_mean(values, log_weights).mean() - truth
    assert abs(plain) > 0.02
    assert abs(jackknifed) < abs(plain) / 3


def test_leaving_a_sample_out_leaves_the_means_of_the_others():
    """The log of a mean weight, against means that are taken of the samples that are left.

    The samples are of two strata, such as two sampled lams, and each stratum keeps its share.
    """
    log_weights = np.random.default_rng(4).normal(size=(3, 10)) + np.repeat([0.0, 2.0], 5)
    for prompt in log_weights:
        strata = np.exp(prompt.reshape(2, 5))
        estimate = np.log(strata.mean())
        bias = 0.0
        for stratum in range(2):
            other_mean = strata[1 - stratum].mean()
            for left_out in range(5):
                mean_left = np.delete(strata[stratum], left_out).mean()
                without = np.log((mean_left + other_mean) / 2)
                bias += 4 / 5 * (without - estimate)
        got = estimators.log_normalizer(prompt[None], strata=2)[0]
        assert got == pytest.approx(estimate - bias, abs=1e-12)


@pytest.mark.parametrize("samples", [2, 3, 8])
def test_equal_weights_have_their_own_mean(samples):
    got = estimators.log_normalizer(np.full((1, samples), 0.7))
    assert got == pytest.approx(0.7, abs=1e-12)


def test_the_effective_sample_size_of_known_weights_is_kish_s():
    assert estimators.effective_sample_size(np.log([[2.0, 2.0, 2.0]]))[0] == pytest.approx(3)
    assert estimators.effective_sample_size(np.log([[1.0, 1e-12, 1e-12]]))[0] == pytest.approx(1)
    assert estimators.effective_sample_size(np.log([[3.0, 1.0]]))[0] == pytest.approx(16 / 10)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """Of 200 intervals at 95%, fewer than 178 or all cover with probability below 1e-3."""
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        estimate = estimators.bootstrap_mean(rng.exponential(size=100), resamples=500, seed=seed)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 178 <= covered < 200


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_that_of_scipy(confidence):
    """Both bootstraps take 20000 resamples.

    A quantile of one errs by 0.019 standard errors of the mean, and their difference by 0.027.
    """
    values = np.random.default_rng(4).exponential(size=60)
    error = values.std() / 60**0.5
    ours = estimators.bootstrap_mean(values, resamples=20_000, seed=5, confidence=confidence)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(6),
        batch=1000,
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert abs(ours.low - expected.low) < 0.135 * error
    assert abs(ours.high - expected.high) < 0.135 * error


def test_the_interval_of_many_prompts_is_the_normal_approximation_s():
    """The quantile of 10000 resamples errs by 0.027 standard errors of the mean.

    Five times that is allowed. There are 2000 uniform values.
    """
    values = np.random.default_rng(7).uniform(size=2000)
    estimate = estimators.bootstrap_mean(values, resamples=10_000, seed=8)
    error = values.std() / 2000**0.5
    assert abs(estimate.low - (values.mean() - 1.959964 * error)) < 0.135 * error
    assert abs(estimate.high - (values.mean() + 1.959964 * error)) < 0.135 * error


def test_the_seed_decides_the_interval_and_values_do_not_leak_between_calls():
    """Resamples are kept between calls, one set for each seed, size and number of resamples."""
    values = np.random.default_rng(9).normal(size=30)
    first = estimators.bootstrap_mean(values, 200, 0)
    assert estimators.bootstrap_mean(2 * values, 200, 0).low == pytest.approx(2 * first.low)
    assert estimators.bootstrap_mean(values, 200, 0) == first
    assert estimators.bootstrap_mean(values, 200, 1) != first
    assert estimators.bootstrap_mean(values, 201, 0) != first
    assert estimators.bootstrap_mean(values[:29], 200, 0) != first


def test_one_prompt_gives_no_interval_and_one_sample_no_weights():
    with pytest.raises(ValueError, match="two prompts"):
        estimators.bootstrap_mean(np.array([1.0]), 100, 0)
    with pytest.raises(ValueError, match="two samples"):
        estimators.reweighted_mean(np.zeros((3, 1)), np.zeros((3, 1)))


def test_constant_values_have_a_zero_width_interval():
    estimate = estimators.bootstrap_mean(np.zeros(5), 100, 0)
    assert (estimate.low, estimate.value, estimate.high) == (0, 0, 0)
