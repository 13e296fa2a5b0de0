"""The trial of the approximation gap, against sums over sequences, one token at a time."""

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


def probabilities_by_sequence(model: np.ndarray) -> dict[tuple, float]:
    return dict(zip(map(tuple, SEQUENCES), model, strict=True))


def next_token(model: dict[tuple, float], prefix: tuple) -> list[float]:
    """Return p(token | prefix), from the probabilities of all sequences that begin so."""

    def mass(beginning: tuple) -> float:
        return sum(p for s, p in model.items() if s[: len(beginning)] == beginning)

    masses = [mass((*prefix, token)) for token in range(VOCABULARY)]
    return [m / sum(masses) for m in masses]


def one_token_at_a_time(
    pair: tuple[np.ndarray, np.ndarray], lam: float
) -> dict[tuple, tuple[float, float]]:
    """Return each sequence's probability under DeRa and its product of normalisers.

    They come from walking the tree of prefixes.
    """
    reference, aligned = (probabilities_by_sequence(model) for model in pair)
    reached = {(): (1.0, 1.0)}
    for _ in range(LENGTH):
        longer = {}
        for prefix, (probability, product) in reached.items():
            from_reference = next_token(reference, prefix)
            from_aligned = next_token(aligned, prefix)
            mixed = [
                p ** (1 - lam) * q**lam for p, q in zip(from_reference, from_aligned, strict=True)
            ]
            normaliser = sum(mixed)
            for token in range(VOCABULARY):
                longer[(*prefix, token)] = (
                    probability * mixed[token] / normaliser,
                    product * normaliser,
                )
        reached = longer
    return reached


def enumerated_gap(pair: tuple[np.ndarray, np.ndarray], lam: float) -> float:
    """Return KL(sampler || mixture), a sum over sequences."""
    mixture = probabilities_by_sequence(pair[0] ** (1 - lam) * pair[1] ** lam)
    total = sum(mixture.values())
    gap = 0.0
    for sequence, (probability, _) in one_token_at_a_time(pair, lam).items():
        gap += probability * np.log(probability / (mixture[sequence] / total))
    return gap


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
    walked = one_token_at_a_time(pair, lam)
    expected = np.array([walked[tuple(sequence)] for sequence in SEQUENCES])
    np.testing.assert_allclose(probabilities, expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(np.exp(log_z), expected[:, 1], rtol=1e-9)


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


def test_the_estimate_from_samples_meets_the_enumerated_gap(pair):
    """20000 pretended prompts of 32 samples.

    Five standard errors are allowed, and a hundredth for what the jackknife leaves of the bias.
    """
    probabilities, log_z = sampler(*pair, 2.0)
    truth = enumerated_gap(pair, 2.0)
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(log_z), (20_000, 32), p=probabilities)
    gaps = estimators.approximation_gap(log_z[drawn])
    assert truth > 0.01
    assert abs(gaps.mean() - truth) < 5 * gaps.std() / 20_000**0.5 + 0.01 * truth


def test_the_table_has_the_gap_that_is_summed_here(tmp_path, monkeypatch):
    output = tmp_path / "gaps.csv"
    monkeypatch.setattr(gap_trial, "LAMS", (0.5, 3.0))
    monkeypatch.setattr(gap_trial, "PROMPTS", 6)
    monkeypatch.setattr(sys, "argv", ["gap_trial", "--seed", "7", "--output", str(output)])
    gap_trial.main()
    table = pd.read_csv(output)
    rng = np.random.default_rng(7)
    pairs = [random_pair(rng) for _ in range(6)]
    true_gaps = {lam: np.mean([enumerated_gap(pair, lam) for pair in pairs]) for lam in (0.5, 3.0)}
    assert [(row.lam, row.samples) for row in table.itertuples()] == [
        (lam, count) for lam in (0.5, 3.0) for count in gap_trial.SAMPLES
    ]
    for row in table.itertuples():
        assert row.enumerated == pytest.approx(true_gaps[row.lam], rel=1e-9)
        assert row.estimated_low <= row.estimated <= row.estimated_high
    assert (table["prompts"] == 6).all()
