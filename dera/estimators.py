"""Estimates per prompt, and their mean over prompts with a bootstrap interval.

A distribution that cannot be sampled is estimated by reweighting samples of one that can. The true
optimum is reached from the reference with weights `exp(r / beta)`, and the exact mixture from the
sampler with weights `prod_t Z_t`. Weights are normalised within each prompt, because the target is
a distribution over the completions of that prompt. Normalising leaves a bias of order one over the
number of samples, which the jackknife removes to first order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

#: With fewer prompts than this, 95% bootstrap intervals contain the true mean less than 90% of the
#: time.
FEW_PROMPTS = 10


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    per_prompt: Array, resamples: int, seed: int, confidence: float = 0.95
) -> Estimate:
    """Return the mean over prompts, with a percentile interval from resampled prompts.

    Args:
        per_prompt: one number a prompt, already averaged over the prompt's samples and over seeds;
            shape (prompts,).
        resamples: how many times prompts are resampled.
        seed: seed of the resampling.
        confidence: level of the interval.

    Raises:
        ValueError: if there are fewer than two prompts.
    """
    if len(per_prompt) < 2:
        raise ValueError(f"an interval needs at least two prompts, got {len(per_prompt)}")
    counts = _resampled_counts(len(per_prompt), resamples, seed)
    means = counts @ per_prompt / len(per_prompt)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(per_prompt.mean()), float(low), float(high))


@functools.lru_cache(maxsize=4)
def _resampled_counts(prompts: int, resamples: int, seed: int) -> Array:
    """Return how often each prompt is drawn in each resample, shape (resamples, prompts).

    The counts are kept, because a study resamples the same prompts thousands of times.
    """
    drawn = np.random.default_rng(seed).integers(prompts, size=(resamples, prompts))
    return np.stack([np.bincount(resample, minlength=prompts) for resample in drawn]).astype(float)


def reweighted_mean(values: Array, log_weights: Array, strata: int = 1) -> Array:
    """Return each prompt's self-normalised mean of `values` under the weights, jackknifed.

    Args:
        values: shape (prompts, samples).
        log_weights: log of the target over the proposal up to a constant, same shape.
        strata: how many proposals the samples come from. The samples of one proposal stand
            together, and all proposals have the same number of samples, at least two. Where there
            is more than one proposal, the weights must be those of the balance heuristic.

    Returns:
        shape (prompts,).
    """
    return _jackknife(_normalised_mean, values, log_weights, strata)


def log_normalizer(log_weights: Array, strata: int = 1) -> Array:
    """Return `log E[w]` of each prompt, the log of the mean weight, jackknifed.

    Args:
        log_weights: shape (prompts, samples).
        strata: as for `reweighted_mean`.

    Returns:
        shape (prompts,).
    """
    return _jackknife(_log_mean_weight, log_weights, log_weights, strata)


def approximation_gap(log_weights: Array) -> Array:
    """Return `KL(sampler || mixture) = log E[w] - E[log w]` of each prompt, in nats.

    The bias of the log of the mean weight is jackknifed.

    Args:
        log_weights: `sum_t log Z_t` of at least two completions of each prompt that were drawn from
            the sampler, shape (prompts, samples).

    Returns:
        shape (prompts,).
    """
    return log_normalizer(log_weights) - log_weights.mean(-1)


def kl_to_reference(log_ratio: Array, log_weights: Array) -> Array:
    """Return each prompt's KL to the reference of a target that is reached by reweighting, in nats.

    Args:
        log_ratio: log of the unnormalised target over the reference, for each sample of a proposal;
            shape (prompts, samples).
        log_weights: log of the unnormalised target over that proposal, same shape.

    Returns:
        shape (prompts,).
    """
    # Both logs are of the same unnormalised target, whose normaliser is the mean weight.
    return reweighted_mean(log_ratio, log_weights) - log_normalizer(log_weights)


def effective_sample_size(log_weights: Array) -> Array:
    """Return Kish's effective sample size of each prompt, `(sum w)^2 / sum w^2`.

    It lies between 1 and the number of samples. The last axis holds the samples.
    """
    return np.exp(2 * special.logsumexp(log_weights, -1) - special.logsumexp(2 * log_weights, -1))


def _normalised_mean(values: Array, log_weights: Array) -> Array:
    """Return the mean of the values under the normalised weights, over the last axis."""
    return (special.softmax(log_weights, -1) * values).sum(-1)


def _log_mean_weight(_: Array, log_weights: Array) -> Array:
    """Return the log of the mean weight over the last axis. The values are not used."""
    return special.logsumexp(log_weights, -1) - np.log(log_weights.shape[-1])


def _jackknife(
    estimator: Callable[[Array, Array], Array], values: Array, log_weights: Array, strata: int = 1
) -> Array:
    """Return an estimate minus its jackknifed bias, over the last axis.

    The bias is the sum over strata of `(n - 1) * (mean of leave-one-out estimates - estimate)`,
    where n is the number of samples of a stratum. When one sample is left out, the weights of the
    other samples of its stratum are raised, so that each stratum keeps its share.

    Raises:
        ValueError: if a stratum has fewer than two samples.
    """
    size = values.shape[-1] // strata
    if size < 2:
        raise ValueError(f"reweighting needs at least two samples a prompt, got {size}")
    estimate = estimator(values, log_weights)
    bias = np.zeros_like(estimate)
    for first in range(0, size * strata, size):
        stratum = slice(first, first + size)
        for left_out in range(first, first + size):
            remaining = log_weights.copy()
            remaining[..., stratum] += np.log(size / (size - 1))
            remaining[..., left_out] = -np.inf
            bias += (size - 1) / size * (estimator(values, remaining) - estimate)
    return estimate - bias
