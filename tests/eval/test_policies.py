"""From completions to policies, on a study whose truth is known; five standard errors are allowed."""

from fractions import Fraction

import numpy as np
import pytest

from eval.policies import find, from_completions
from eval.summarize import length_distributions, row
from tests.eval import synthetic

BETAS = [Fraction(1, 4), Fraction(1), Fraction(4)]


@pytest.fixture(scope="module")
def table():
    return synthetic.completions(["0.25", "1", "4"], ["1"], ["0", "1/2", "2"])


@pytest.fixture(scope="module")
def policies(table):
    return from_completions(table, BETAS)


def close(values: np.ndarray, truth: float) -> bool:
    return abs(values.mean() - truth) < 5 * values.std() / len(values) ** 0.5 + 1e-9


@pytest.mark.parametrize("beta", BETAS)
def test_optimum_mixture_retrained_and_dera_all_reach_the_closed_form(policies, beta):
    exact = synthetic.optimum(float(beta))
    truth = {
        "reward": exact @ synthetic.REWARD,
        "kl": exact @ np.log(exact / synthetic.REFERENCE),
        "length": exact @ synthetic.LENGTHS,
    }
    for kind in ("optimum", "retrained", "dera", "mixture"):
        (policy,) = find(policies, kind, beta=beta)
        for quantity, value in truth.items():
            assert close(policy.per_prompt[quantity], value), (kind, quantity)


def test_equal_weights_have_no_gap_and_full_effective_sample_size(policies):
    for policy in find(policies, "mixture"):
        np.testing.assert_allclose(policy.gap, 0, atol=1e-9)
        assert policy.ess == pytest.approx(16)


def test_seeds_are_kept_apart_and_averaged(policies):
    (mean,) = find(policies, "retrained", beta=Fraction(1))
    seeds = [find(policies, "retrained", seed=seed, beta=Fraction(1))[0] for seed in ("0", "1")]
    np.testing.assert_allclose(mean.per_prompt["reward"], (seeds[0].per_prompt["reward"] + seeds[1].per_prompt["reward"]) / 2)
    assert mean.completions == sum(seed.completions for seed in seeds)


def test_lam_zero_is_the_reference_and_has_no_beta(policies):
    (policy,) = find(policies, "dera", lam=Fraction(0))
    assert policy.beta is None
    assert abs(policy.per_prompt["kl"]).max() < 1e-9


def test_a_row_states_its_interval_and_counts(policies):
    line = row(find(policies, "mixture", beta=Fraction(1))[0], resamples=200, seed=0)
    assert line["reward_low"] <= line["reward"] <= line["reward_high"]
    assert (line["prompts"], line["completions"], line["lam"], line["seed"]) == (64, 64 * 16 * 2, 1.0, "mean")


def test_length_shares_sum_to_one(table):
    shares = length_distributions(table).groupby(["policy", "adapter_beta", "lam"], dropna=False)["share"].sum()
    np.testing.assert_allclose(shares, 1)
    assert len(shares) == 1 + 3 + 6
