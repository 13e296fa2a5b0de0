"""The best of n against enumerations of every draw, and against closed forms."""

import itertools

import numpy as np
import pytest

from eval.baselines import best_of_n

TIED = np.array(
    [
        [0.0, -1.0, 2.0, 0.0, 0.0, 2.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.1 + 0.2, 0.3, 5.0, -2.0, 4.0, 0.0],
    ]
)


def shares(rewards: np.ndarray, draws: list[tuple[int, ...]]) -> np.ndarray:
    """How often each sample is the best of a draw; the samples drawn that tie for it share it."""
    total = np.zeros(len(rewards))
    for draw in draws:
        highest = max(rewards[j] for j in draw)
        best = [i for i in range(len(rewards)) if np.isclose(rewards[i], highest)]
        total[best] += 1 / len(best)
    return total / len(draws)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_weights_are_those_of_every_subset(n):
    expected = [shares(rewards, list(itertools.combinations(range(6), n))) for rewards in TIED]
    np.testing.assert_allclose(best_of_n.weights(TIED, n), expected, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_divergence_from_the_samples_is_that_of_every_draw_with_replacement(n):
    for rewards in TIED:
        probability = shares(rewards, list(itertools.product(range(6), repeat=n)))
        expected = sum(p * np.log(6 * p) for p in probability if p)
        assert best_of_n._kl_of_samples(rewards[None], n)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
@pytest.mark.parametrize("tied", [False, True])
def test_kl_and_means_are_unbiased(n, tied):
    """There are 2000 prompts of 32 samples, and five standard errors are allowed.

    The jackknife leaves a bias well below 0.03.
    """
    rng = np.random.default_rng(n)
    if tied:
        values, reference = np.array([-1.0, 0.0, 3.0]), np.array([0.5, 0.35, 0.15])
        rewards = rng.choice(values, p=reference, size=(2000, 32))
        best = np.diff(np.cumsum(reference) ** n, prepend=0.0)
        kl, mean = best @ np.log(best / reference), best @ values
    else:
        rewards = rng.random((2000, 32))
        kl, mean = np.log(n) - (n - 1) / n, n / (n + 1)
    estimates = best_of_n.kl(rewards, n)
    assert abs(estimates.mean() - kl) < 5 * estimates.std() / 2000**0.5 + 0.03
    means = (best_of_n.weights(rewards, n) * rewards).sum(-1)
    assert abs(means.mean() - mean) < 5 * means.std() / 2000**0.5
