"""Win rates by hand, with ties, for two known distributions, and pair by pair."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest

from eval.policies import Policy, find, from_completions
from eval.win_rates import matches, win_rate, win_rate_per_prompt, win_rates_by_seed
from tests.eval import synthetic


def policy(gold: np.ndarray | None) -> Policy:
    return Policy("dera", "rloo", "mean", None, None, None, {}, completions=0, ess=0.0, gold=gold)


def test_two_prompts_counted_by_hand():
    """On prompt 0, 3 beats 1 and 2, and 0 beats neither: 2 of 4.

    Prompt 1 has a tie, a loss and two wins: 2.5 of 4.
    """
    first, second = np.array([[3.0, 0.0], [1.0, 5.0]]), np.array([[1.0, 2.0], [1.0, 4.0]])
    np.testing.assert_array_equal(win_rate_per_prompt(first, second), [0.5, 2.5 / 4])


def test_every_pair_of_a_prompt_is_compared_and_no_pair_of_two_prompts():
    rng = np.random.default_rng(0)
    first = rng.integers(4, size=(5, 3)).astype(float)
    second = rng.integers(4, size=(5, 7)).astype(float)
    for prompt in range(5):
        points = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a, b in itertools.product(first[prompt], second[prompt])
        ]
        assert win_rate_per_prompt(first, second)[prompt] == pytest.approx(sum(points) / 21)


def test_a_policy_ties_with_itself_and_two_policies_share_the_point():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(20, 4)), rng.normal(size=(20, 6))
    np.testing.assert_allclose(win_rate_per_prompt(first, first), 0.5)
    both = win_rate_per_prompt(first, second) + win_rate_per_prompt(second, first)
    np.testing.assert_allclose(both, 1)
    np.testing.assert_array_equal(win_rate_per_prompt(first + 100, second), 1)


def test_golds_that_differ_by_rounding_alone_are_a_tie():
    assert 0.1 + 0.2 != 0.3
    assert win_rate_per_prompt(np.array([[0.1 + 0.2]]), np.array([[0.3]]))[0] == 0.5
    assert win_rate_per_prompt(np.array([[0.3 + 1e-6]]), np.array([[0.3]]))[0] == 1


def test_the_interval_says_how_sure_the_win_rate_of_two_known_distributions_is():
    """Golds of N(0.5, 1) beat those of N(0, 1) with probability Phi(0.5 / sqrt 2).

    The mean over 300 prompts is allowed five standard errors.
    """
    rng = np.random.default_rng(2)
    first, second = rng.normal(0.5, size=(300, 8)), rng.normal(size=(300, 8))
    truth = 0.6381632
    rates = win_rate_per_prompt(first, second)
    assert abs(rates.mean() - truth) < 5 * rates.std() / 300**0.5
    estimate = win_rate(policy(first), policy(second))
    low, high = estimate.interval()
    half_width = (high - low) / 2
    assert estimate.value == pytest.approx(rates.mean())
    assert half_width == pytest.approx(1.96 * rates.std() / 300**0.5, rel=0.02)


def test_two_policies_of_a_study_win_as_often_as_the_closed_form_says():
    """The truth enumerates two completions of a world with ties; five standard errors."""
    world, betas = synthetic.HACKED, ["0.5", "4"]
    policies = from_completions(
        synthetic.completions(betas, ["4"], ["8"], 200, worlds=[world]),
        synthetic.judging(betas, ["4"], "learned"),
    )
    (first,) = find(policies, "retrained", beta=Fraction("0.5"))
    (second,) = find(policies, "retrained", beta=Fraction("4"))
    models, gold = [world.optimum(float(beta)) for beta in betas], world.measures["gold"]
    truth = sum(
        models[0][i] * models[1][j] * (0.5 if gold[i] == gold[j] else gold[i] > gold[j])
        for i, j in itertools.product(range(3), repeat=2)
    )
    rates = win_rate_per_prompt(first.gold, second.gold)
    assert abs(rates.mean() - truth) < 5 * rates.std() / 200**0.5


def test_policies_with_seeds_are_compared_seed_by_seed():
    """Seed 0 of the first policy wins always, seed 1 never; their golds are far apart."""
    low, high = np.zeros((4, 2)), np.ones((4, 2))
    first = with_seeds({"0": high, "1": low})
    second = with_seeds({"0": low, "1": high})
    np.testing.assert_array_equal(win_rates_by_seed(first, second), [[1.0] * 4, [0.0] * 4])
    reference = policy(low)
    np.testing.assert_array_equal(win_rates_by_seed(first, reference), [[1.0] * 4, [0.5] * 4])
    assert win_rate(first, second).seeds == 2


def with_seeds(golds: dict[str, np.ndarray]) -> Policy:
    members = tuple(dataclasses.replace(policy(gold), seed=seed) for seed, gold in golds.items())
    pooled = policy(np.concatenate(list(golds.values()), axis=1))
    return dataclasses.replace(pooled, by_seed=members)


def test_a_policy_reached_by_reweighting_has_no_completions_to_compare():
    with pytest.raises(ValueError, match="only policies that were sampled"):
        win_rate(policy(np.ones((3, 2))), policy(None))


def test_an_objective_without_a_default_strength_is_compared_with_the_reference_alone():
    betas = ["0.5", "4"]
    policies = from_completions(
        synthetic.completions(betas, ["4"], ["8"], 4), synthetic.judging(betas, ["4"])
    )
    (objective,) = synthetic.objectives(betas, ["4"]).values()
    without = dataclasses.replace(objective, anchors=(), default_beta=None)
    opponents = {second.kind for _, second in matches(policies, "rloo", without)}
    assert opponents == {"reference"}
