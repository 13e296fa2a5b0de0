"""Sequential Monte Carlo against the enumerated mixture: its normaliser is unbiased, and picks follow the mixture."""

import numpy as np
import pytest
import torch
from scipy import stats

from dera import RealignedModel, sample_mixture
from dera.exact_mixture.particles import _ancestors
from tests.dera.architectures import EOS, tiny
from tests.dera.enumeration import Space, p_value
from tests.dera.tokenizers import word_tokenizer

LENGTH, PROMPT = 3, "w3 w4"
PARTS = tiny("llama", 1), tiny("llama", 2)


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(*PARTS, word_tokenizer()(PROMPT).input_ids, LENGTH, EOS)


def picked(space: Space, particles, rows) -> list[int]:
    """Index in the space of the completions in `rows`."""
    drawn = particles.completions.input_ids[rows, -LENGTH:].tolist()
    return [space.index[tuple(ids[: ids.index(EOS) + 1] if EOS in ids else ids)] for ids in drawn]


@pytest.mark.parametrize(
    ("lam", "resample_below"), [(0.5, 1.0), (0.5, 0.0), (1.8, 0.5), (-0.7, 1.0)]
)
def test_normaliser_and_expectations_are_unbiased(space, lam, resample_below):
    """For any number of particles E[exp(log_normalizer) * weighted mean of f] is exactly Z * E_mixture[f].

    500 independent runs of 6 particles, f = 1 and an arbitrary f; each z-test at level 1e-4.
    """
    torch.manual_seed(3)
    runs, count = 500, 6
    out = sample_mixture(
        RealignedModel(*PARTS),
        word_tokenizer(),
        [PROMPT] * runs,
        LENGTH,
        lam,
        count,
        resample_below,
    )
    f = np.random.default_rng(0).normal(size=len(space.sequences))
    probabilities, log_normalizer = space.mixture(lam)
    normalizers = out.log_normalizer.exp().numpy()
    shares = out.log_weights.softmax(-1).numpy()
    values = f[picked(space, out, slice(None))].reshape(runs, count)
    for got, truth in (
        (normalizers, np.exp(log_normalizer)),
        (normalizers * (shares * values).sum(-1), np.exp(log_normalizer) * (probabilities @ f)),
    ):
        z = (got.mean() - truth) / (got.std(ddof=1) / np.sqrt(runs))
        assert abs(z) < stats.norm.isf(0.5e-4)
    assert (out.resampled > 0).any() == (resample_below > 0)


def test_picks_follow_the_mixture_and_not_the_sampler(space):
    """Chi-square over all completions expected five times, level 1e-4; 64 particles leave a bias far below what it can see.

    At this lam the same number of draws from the sampler itself is rejected, so the test can tell the two apart.
    """
    lam, runs = 0.5, 1500
    torch.manual_seed(0)
    out = sample_mixture(RealignedModel(*PARTS), word_tokenizer(), [PROMPT] * runs, LENGTH, lam, 64)
    truth = space.mixture(lam)[0]
    counts = np.bincount(picked(space, out, out.pick()), minlength=len(truth))
    assert p_value(counts, truth) > 1e-4
    plain = np.random.default_rng(0).multinomial(runs, space.sampler(lam))
    assert p_value(plain, truth) < 1e-4


def test_systematic_resampling_copies_each_particle_its_expected_number_of_times_rounded():
    torch.manual_seed(1)
    weights = torch.rand(50, 8, dtype=torch.double) ** 3
    ancestors, again = _ancestors(weights.log(), 1.0, None)
    assert again.all()
    for row, (own, chosen) in enumerate(zip(weights, ancestors.view(50, 8), strict=True)):
        copies = torch.bincount(chosen - 8 * row, minlength=8)
        expected = 8 * own / own.sum()
        assert ((copies - expected).abs() < 1).all()


def test_the_same_generator_gives_the_same_particles():
    model, tokenizer = RealignedModel(*PARTS), word_tokenizer()
    first, second = (
        sample_mixture(
            model,
            tokenizer,
            [PROMPT, "w5"],
            6,
            [0.5, 1.5],
            8,
            1.0,
            torch.Generator().manual_seed(4),
        )
        for _ in range(2)
    )
    assert torch.equal(first.completions.input_ids, second.completions.input_ids)
    assert torch.equal(first.log_weights, second.log_weights)


def test_encoder_decoder_normaliser_is_unbiased():
    """As above for T5, whose completions are enumerated through its own decoder; z-test at level 1e-4."""
    parts, tokenizer, lam = (tiny("t5", 1), tiny("t5", 2)), word_tokenizer(), 0.5
    source = torch.tensor([tokenizer(PROMPT).input_ids])
    total = 0.0
    for first in range(13):
        for second in range(13) if first != EOS else [None]:
            ids = torch.tensor([[1, first]])
            with torch.no_grad():
                logs = [
                    p(input_ids=source, decoder_input_ids=ids).logits[0].double().log_softmax(-1)
                    for p in parts
                ]
            rest = [0 if second is None else log[1, second] for log in logs]
            total += torch.exp(
                (1 - lam) * (logs[0][0, first] + rest[0]) + lam * (logs[1][0, first] + rest[1])
            ).item()
    torch.manual_seed(0)
    out = sample_mixture(RealignedModel(*parts), tokenizer, [PROMPT] * 500, 2, lam, 6, 1.0)
    got = out.log_normalizer.exp()
    assert abs((got.mean() - total) / (got.std() / 500**0.5)) < stats.norm.isf(0.5e-4)


def test_bad_arguments_are_refused():
    model = RealignedModel(*PARTS)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        sample_mixture(model, word_tokenizer(), [PROMPT], 3, 0.5, particles=1)
    three = RealignedModel(PARTS[0], [PARTS[1], tiny("llama", 3)])
    with pytest.raises(ValueError, match="one aligned model"):
        sample_mixture(three, word_tokenizer(), [PROMPT], 3, 0.5)
