"""The trial of the approximation gap, against sums over sequences that are written out one token at a time."""

import sys

import numpy as np
import pandas as pd
import pytest

from dera import estimators
from eval import gap_trial
from eval.gap_trial import LENGTH, SEQUENCES, VOCABULARY, random_pair, sampler

LAMS = (-1.0, 0.0, 0.5, 1.0, 2.0, 4.0)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    return random_pair(np.random.default_rng(3))


def next_token(model: dict[tuple, float], prefix: tuple) -> list[float]:
    """p(token | prefix), by adding up the probability of every sequence that begins so."""
    mass = [
        sum(p for s, p in model.items() if s[: len(prefix) + 1] == (*prefix, token))
        for token in range(VOCABULARY)
    ]
    return [m / sum(mass) for m in mass]


def one_token_at_a_time(
    pair: tuple[np.ndarray, np.ndarray], lam: float
) -> dict[tuple, tuple[float, float]]:
    """Each sequence's probability under DeRa and its product of normalisers, by walking the tree of prefixes."""
    reference, aligned = (dict(zip(map(tuple, SEQUENCES), model, strict=True)) for model in pair)
    reached = {(): (1.0, 1.0)}
    for _ in range(LENGTH):
        longer = {}
        for prefix, (probability, product) in reached.items():
            a, b = next_token(reference, prefix), next_token(aligned, prefix)
            mixed = [p ** (1 - lam) * q**lam for p, q in zip(a, b, strict=True)]
            for token in range(VOCABULARY):
                longer[(*prefix, token)] = (
                    probability * mixed[token] / sum(mixed),
                    product * sum(mixed),
                )
        reached = longer
    return reached


def test_both_models_are_distributions_over_every_sequence_once(pair):
    assert len({tuple(s) for s in SEQUENCES}) == VOCABULARY**LENGTH
    for model in pair:
        assert model.sum() == pytest.approx(1)
        assert (model > 0).all()


def test_the_aligned_model_is_an_optimum_of_bounded_rewards(pair):
    reference, aligned = pair
    reward = gap_trial.BETA * np.log(aligned / reference)
    assert reward.max() - reward.min() <= 2  # uniform in [-1, 1], up to the normaliser


@pytest.mark.parametrize("lam", LAMS)
def test_the_sampler_is_dera_one_token_at_a_time(pair, lam):
    probabilities, log_z = sampler(*pair, lam)
    assert probabilities.sum() == pytest.approx(1)
    direct = one_token_at_a_time(pair, lam)
    np.testing.assert_allclose(probabilities, [direct[tuple(s)][0] for s in SEQUENCES], rtol=1e-9)
    np.testing.assert_allclose(np.exp(log_z), [direct[tuple(s)][1] for s in SEQUENCES], rtol=1e-9)


@pytest.mark.parametrize(("lam", "model"), [(0.0, 0), (1.0, 1)])
def test_at_lam_0_and_1_the_sampler_is_one_of_the_models_and_has_no_gap(pair, lam, model):
    probabilities, log_z = sampler(*pair, lam)
    np.testing.assert_allclose(probabilities, pair[model], rtol=1e-9)
    np.testing.assert_allclose(log_z, 0, atol=1e-12)


@pytest.mark.parametrize("lam", LAMS)
def test_weights_lead_from_the_sampler_to_the_mixture(pair, lam):
    """sampler * prod Z is the unnormalised mixture, for every sequence."""
    probabilities, log_z = sampler(*pair, lam)
    np.testing.assert_allclose(
        probabilities * np.exp(log_z), pair[0] ** (1 - lam) * pair[1] ** lam, rtol=1e-9
    )


def enumerated_gap(pair: tuple[np.ndarray, np.ndarray], lam: float) -> float:
    """KL(sampler || mixture), a sum over sequences."""
    mixture = {
        s: a ** (1 - lam) * b**lam for s, a, b in zip(map(tuple, SEQUENCES), *pair, strict=True)
    }
    total = sum(mixture.values())
    return sum(
        p * np.log(p / (mixture[s] / total)) for s, (p, _) in one_token_at_a_time(pair, lam).items()
    )


def test_the_estimate_from_samples_meets_the_enumerated_gap(pair):
    """20000 pretended prompts of 32 samples: five standard errors, and what the jackknife leaves of the bias, a hundredth."""
    probabilities, log_z = sampler(*pair, 2.0)
    truth, drawn = (
        enumerated_gap(pair, 2.0),
        np.random.default_rng(0).choice(len(log_z), (20_000, 32), p=probabilities),
    )
    gaps = estimators.approximation_gap(log_z[drawn])
    assert truth > 0.01
    assert abs(gaps.mean() - truth) < 5 * gaps.std() / 20_000**0.5 + 0.01 * truth


def test_the_table_has_the_gap_that_is_summed_here(tmp_path, monkeypatch):
    monkeypatch.setattr(gap_trial, "LAMS", (0.5, 3.0))
    monkeypatch.setattr(gap_trial, "PROMPTS", 6)
    monkeypatch.setattr(
        sys, "argv", ["gap_trial", "--seed", "7", "--output", str(tmp_path / "gaps.csv")]
    )
    gap_trial.main()
    table = pd.read_csv(tmp_path / "gaps.csv")
    rng = np.random.default_rng(7)
    pairs = [random_pair(rng) for _ in range(6)]
    assert [(row.lam, row.samples) for row in table.itertuples()] == [
        (lam, n) for lam in (0.5, 3.0) for n in gap_trial.SAMPLES
    ]
    for row in table.itertuples():
        assert row.enumerated == pytest.approx(
            np.mean([enumerated_gap(pair, row.lam) for pair in pairs]), rel=1e-9
        )
        assert row.estimated_low <= row.estimated <= row.estimated_high
    assert (table["prompts"] == 6).all()
