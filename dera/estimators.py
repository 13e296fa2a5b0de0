"""Estimates per prompt, and their mean over prompts with a bootstrap interval that resamples prompts.

A target distribution that cannot be sampled is reached by reweighting samples of one that can: the true optimum from
the reference (weights `exp(r / beta)`), the exact mixture from the sampler (weights `prod_t Z_t`). Weights are
self-normalised within each prompt, because the target is a distribution over completions of that prompt, and the bias this leaves,
of order one over the samples, is removed to first order by the jackknife.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

#: Below so many prompts, 95% bootstrap intervals cover less than 90%.
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
    """Mean of one number a prompt, with a percentile interval from resampled prompts.

    Args:
        per_prompt: shape (prompts,), already averaged over the prompt's samples and over seeds.
        resamples: bootstrap resamples.
        seed: of the resampling.
        confidence: level of the interval.

    Raises:
        ValueError: if there are fewer than two prompts.
    """
    if len(per_prompt) < 2:
        raise ValueError(f"an interval needs at least two prompts, got {len(per_prompt)}")
    counts = _resampled(len(per_prompt), resamples, seed)
    low, high = np.quantile(
        counts @ per_prompt / len(per_prompt), [(1 - confidence) / 2, (1 + confidence) / 2]
    )
    return Estimate(float(per_prompt.mean()), float(low), float(high))


@functools.lru_cache(maxsize=4)
def _resampled(size: int, resamples: int, seed: int) -> Array:
    """How often each prompt is drawn in each resample, (resamples, size); kept, because a study resamples the same prompts thousands of times."""
    drawn = np.random.default_rng(seed).integers(size, size=(resamples, size))
    return np.stack([np.bincount(row, minlength=size) for row in drawn]).astype(float)


def reweighted_mean(values: Array, log_weights: Array, strata: int = 1) -> Array:
    """Self-normalised expectation of `values` under the reweighted distribution, jackknifed, one a prompt.

    Args:
        values, log_weights: shape (prompts, samples).
        strata: the samples are so many groups of equal size, one after another, each with at least two and drawn from a
            proposal of its own; the weights are then those of the balance heuristic.
    """
    return _jackknife(_normalised_mean, values, log_weights, strata)


def log_normalizer(log_weights: Array, strata: int = 1) -> Array:
    """`log E[w]`, the log of the mean weight, jackknifed; shape (prompts, samples) to (prompts,). Strata as above."""
    return _jackknife(
        lambda values, weights: special.logsumexp(weights, -1) - np.log(weights.shape[-1]),
        log_weights,
        log_weights,
        strata,
    )


def approximation_gap(log_weights: Array) -> Array:
    """`KL(sampler || mixture) = log E[w] - E[log w]` of each prompt, in nats; the mean weight's bias is jackknifed.

    Args:
        log_weights: `sum_t log Z_t` of completions drawn from the sampler, shape (prompts, samples), at least two samples.
    """
    return log_normalizer(log_weights) - log_weights.mean(-1)


def kl_to_reference(log_ratio: Array, log_weights: Array) -> Array:
    """KL to the reference of the distribution proportional to `pi_ref * exp(log_ratio)`, one a prompt, in nats.

    Args:
        log_ratio: log of the unnormalised target over the reference, of samples from a proposal; (prompts, samples).
        log_weights: log of the unnormalised target over that proposal, same shape.
    """
    # The normaliser of the target is E_proposal[exp(log_weights)]: both logs are of the same unnormalised target.
    return reweighted_mean(log_ratio, log_weights) - log_normalizer(log_weights)


def effective_sample_size(log_weights: Array) -> Array:
    """Kish's effective sample size within each prompt, `(sum w)^2 / sum w^2`; between 1 and the number of samples."""
    return np.exp(2 * special.logsumexp(log_weights, -1) - special.logsumexp(2 * log_weights, -1))


def _normalised_mean(values: Array, log_weights: Array) -> Array:
    return (special.softmax(log_weights, -1) * values).sum(-1)


def _jackknife(
    estimator: Callable[[Array, Array], Array], values: Array, log_weights: Array, strata: int = 1
) -> Array:
    """The estimate less `sum over strata of (n - 1) * (mean of leave-one-out - estimate)`, over the last axis.

    When one sample of a stratum is left out, the stratum's others count for it too, so that strata keep their shares.
    """
    size = values.shape[-1] // strata
    if size < 2:
        raise ValueError(f"reweighting needs at least two samples a prompt, got {size}")
    estimate = estimator(values, log_weights)
    bias = np.zeros_like(estimate)
    for first in range(0, size * strata, size):
        stratum = slice(first, first + size)
        for left_out in range(first, first + size):
            others = log_weights.copy()
            others[..., stratum] += np.log(size / (size - 1))
            others[..., left_out] = -np.inf
            bias += (size - 1) / size * (estimator(values, others) - estimate)
    return estimate - bias
