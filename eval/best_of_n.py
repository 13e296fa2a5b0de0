"""Best of n: draw n completions of the reference and keep the one of highest reward. Nothing is decoded: it reweights the reference's own."""

from __future__ import annotations

import numpy as np
from scipy import special

from dera.estimators import Array

DECIMALS = 9  # rewards that agree so far are equal: they are sums of the same few numbers


def weights(rewards: Array, n: int) -> Array:
    """Probability that each of a prompt's samples is the best of n drawn from them without replacement, ties broken uniformly.

    The weighted mean of anything is an unbiased estimate of its mean over the best of n.

    Args:
        rewards: shape (prompts, samples), at least n samples.

    Returns:
        Of the same shape; 1 in sum over each prompt's samples.
    """
    at_most, equal = _counts(rewards)
    return (
        (special.comb(at_most, n) - special.comb(at_most - equal, n))
        / special.comb(rewards.shape[-1], n)
        / equal
    )


def kl(rewards: Array, n: int) -> Array:
    """KL of the best of n to the reference, one a prompt, in nats; the samples' bias is jackknifed.

    Among completions of equal reward the best of n is distributed as the reference is, so the divergence of whole completions is that of
    rewards. Without ties it is `log n - (n - 1) / n`, otherwise less (Beirami et al. 2024).

    Args:
        rewards: shape (prompts, samples), more than one sample.
    """
    samples = rewards.shape[-1]
    left_out = np.mean(
        [_kl_of_samples(np.delete(rewards, i, axis=-1), n) for i in range(samples)], axis=0
    )
    return samples * _kl_of_samples(rewards, n) - (samples - 1) * left_out


def _kl_of_samples(rewards: Array, n: int) -> Array:
    """Where the reference is the samples, equally probable. Drawn with replacement: without, as for the means, it would be too large."""
    at_most, equal = _counts(rewards)
    samples = rewards.shape[-1]
    probability = ((at_most / samples) ** n - ((at_most - equal) / samples) ** n) / equal
    return special.xlogy(probability, samples * probability).sum(-1)


def _counts(rewards: Array) -> tuple[Array, Array]:
    """For each sample how many of its prompt's have at most its reward, and how many have just its reward; itself counted."""
    rounded = np.round(rewards, DECIMALS)
    mine, others = rounded[:, :, None], rounded[:, None, :]
    return (others <= mine).sum(-1), (others == mine).sum(-1)
