"""Keep the best of n completions of the reference by reward.

Nothing is decoded: the rule reweights the completions that the reference has drawn already.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from dera.estimators import Array

NAME = "best-of-n"
TITLE = "the best of n"
KNOB = "n"
KNOB_SCHEMA = {"type": "integer", "minimum": 2}
OPTIONS = {}
PAPER = "Beirami et al. 2024 (its KL to the reference)"
PASSES = "knob"
DECODED = False

DECIMALS = 9  # rewards that agree so far are equal: they are sums of the same few numbers


def weights(rewards: Array, n: int) -> Array:
    """Return the probability that each of a prompt's samples is the best of n of them.

    The n are drawn without replacement, and ties are broken uniformly. The weighted mean of any
    measure is then an unbiased estimate of its mean over the best of n.

    Args:
        rewards: shape (prompts, samples), at least n samples.

    Returns:
        Shape (prompts, samples); the weights of a prompt sum to 1.
    """
    at_most, equal = _counts(rewards)
    draws = special.comb(rewards.shape[-1], n)
    draws_below = special.comb(at_most - equal, n)
    return (special.comb(at_most, n) - draws_below) / draws / equal


def kl(rewards: Array, n: int) -> Array:
    """Return the KL of the best of n to the reference for each prompt, in nats.

    Completions of equal reward have the same shares among the best of n as under the reference, so
    the divergence of whole completions is the divergence of their rewards. Without ties it is
    `log n - (n - 1) / n`, otherwise it is less (Beirami et al. 2024). A jackknife over the samples
    corrects the bias of a finite sample.

    Args:
        rewards: shape (prompts, samples), more than one sample.

    Returns:
        Shape (prompts,).
    """
    samples = rewards.shape[-1]
    left_out = [_kl_of_samples(np.delete(rewards, i, axis=-1), n) for i in range(samples)]
    mean_left_out = np.mean(left_out, axis=0)
    return samples * _kl_of_samples(rewards, n) - (samples - 1) * mean_left_out


def _kl_of_samples(rewards: Array, n: int) -> Array:
    """Return the KL where the reference draws each of the samples with equal probability.

    The n are drawn with replacement: without it, as for the means, the KL would be too large.
    """
    at_most, equal = _counts(rewards)
    samples = rewards.shape[-1]
    below = (at_most - equal) / samples
    probability = ((at_most / samples) ** n - below**n) / equal
    return special.xlogy(probability, samples * probability).sum(-1)


def _counts(rewards: Array) -> tuple[Array, Array]:
    """Count for each sample how many of its prompt's samples it beats or equals, and equals.

    Each sample counts itself.
    """
    rounded = np.round(rewards, DECIMALS)
    sample = rounded[:, :, None]
    compared = rounded[:, None, :]
    at_most = (compared <= sample).sum(-1)
    equal = (compared == sample).sum(-1)
    return at_most, equal
