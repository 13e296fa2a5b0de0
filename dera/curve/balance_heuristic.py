"""Weights that carry completions from the sampled lams to any other lam, and how well they do so.

This is multiple importance sampling. The completions of all J sampled lams are pooled. Toward any
lam, a completion has the weight of the balance heuristic (Veach and Guibas 1995)

    w(y) = p_lam(y) / ((1 / J) * sum_j p_j(y))

where `p_j` is the sampler at the j-th sampled lam. The weight's mean is an unbiased estimate of 1,
which is what the probabilities of `p_lam` sum to. A mean far from 1 therefore says that the
completions miss some of what would be decoded at lam.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dera import estimators
from dera.curve.sampled_lams import LamSamples
from dera.estimators import Array

#: What to estimate: "sampler" is what DeRa decodes at lam. "mixture" is the exact mixture that the
#: sampler approximates.
Target = Literal["sampler", "mixture"]
Flags = NDArray[np.bool_]

#: A lam is supported if all completions together are worth this many times those of one sampled
#: lam.
DEFAULT_MIN_ESS = 0.5

#: A mean weight may differ from 1 by this much, or by three standard errors if these are more.
#: If it differs more, the completions miss some of what the target produces.
MASS_TOLERANCE = 0.1


class Coverage(NamedTuple):
    """How well the completions cover each of G lams, whatever the metric.

    Attributes:
        ess: effective sample size of all completions toward each lam, as a share of their number;
            shape (G,).
        mass: mean weight, which is 1 in expectation, shape (G,). It is NaN for the mixture, whose
            normaliser is unknown.
        supported: whether the completions suffice for an estimate at each lam, shape (G,).
    """

    ess: Array
    mass: Array
    supported: Flags


def log_weights(samples: LamSamples, target: Target) -> Array:
    """Return the log weight of every completion toward each lam of the grid, shape (G, P, J, S).

    Weights toward the mixture lack its normaliser, which differs between prompts and lams.
    """
    log_target = samples.log_sampler() if target == "sampler" else samples.log_mixture()
    return log_target - samples.log_proposal()


def coverage(
    samples: LamSamples, target: Target = "sampler", min_ess: float = DEFAULT_MIN_ESS
) -> Coverage:
    """Return how well the samples cover each lam of their grid. Arguments are as in `reweight`."""
    return coverage_of(log_weights(samples, target), target, min_ess)


def coverage_of(log_weights: Array, target: Target, min_ess: float) -> Coverage:
    """Return the `coverage` that log weights of shape (G, P, J, S) give."""
    # All completions together are worth `ess * J` times those of one sampled lam.
    number_of_sampled_lams = log_weights.shape[2]
    ess = _effective_share(log_weights, target)
    enough = ess * number_of_sampled_lams >= min_ess
    if target == "mixture":
        return Coverage(ess, np.full(len(ess), np.nan), enough)
    mass, error = _mean_weight(log_weights)
    within_tolerance = np.abs(mass - 1) <= np.maximum(MASS_TOLERANCE, 3 * error)
    return Coverage(ess, mass, enough & within_tolerance)


def least_supported(lams: Sequence[float] | Array, ess: Array, supported: Flags) -> float | None:
    """Return the lam to sample next: the unsupported one with the smallest effective sample size.

    Returns:
        None if every lam is supported.
    """
    unsupported = np.flatnonzero(~supported)
    if not len(unsupported):
        return None
    return float(lams[unsupported[ess[unsupported].argmin()]])


def check_counts(prompts: int, samples: int) -> None:
    """Refuse fewer than two prompts or two samples, from which no error can be estimated.

    Raises:
        ValueError: naming both numbers.
    """
    if samples < 2 or prompts < 2:
        raise ValueError(
            "reweighting needs at least two prompts and two samples of each at each sampled lam, "
            f"got {prompts} prompts and {samples} samples"
        )


def _effective_share(log_weights: Array, target: Target) -> Array:
    """Return the effective sample size toward each lam as a share of all completions, (G,)."""
    if target == "mixture":
        # Each prompt has a normaliser of its own, so the weights of a prompt are normalised first.
        log_weights = log_weights - special.logsumexp(log_weights, axis=(2, 3), keepdims=True)
    pooled = log_weights.reshape(len(log_weights), -1)
    return estimators.effective_sample_size(pooled) / log_weights[0].size


def _mean_weight(log_weights: Array) -> tuple[Array, Array]:
    """Return the mean weight toward each lam and its standard error over prompts, (G,) each."""
    prompts = log_weights.shape[1]
    by_prompt = np.exp(log_weights).mean((2, 3))
    return by_prompt.mean(-1), by_prompt.std(-1, ddof=1) / np.sqrt(prompts)
