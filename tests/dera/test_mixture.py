"""Sequential Monte Carlo against the enumerated mixture: the normaliser, and what picks follow."""

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
TOKENIZER = word_tokenizer()
#: Standard errors that a z-test at level 1e-4 allows.
Z_LIMIT = stats.norm.isf(0.5e-4)


@pytest.fixture(scope="module")
def model() -> RealignedModel:
    return RealignedModel(*PARTS)


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(*PARTS, TOKENIZER(PROMPT).input_ids, LENGTH, EOS)


def places_of(space: Space, particles, rows) -> list[int]:
    """Return where the completions in `rows` stand in the space."""
    drawn = particles.completions.input_ids[rows, -LENGTH:].tolist()
    ended = [ids[: ids.index(EOS) + 1] if EOS in ids else ids for ids in drawn]
    return [space.index[tuple(ids)] for ids in ended]


@pytest.mark.parametrize(
    ("lam", "resample_below"), [(0.5, 1.0), (0.5, 0.0), (1.8, 0.5), (-0.7, 1.0)]
)
def test_normaliser_and_expectations_are_unbiased(model, space, lam, resample_below):
    """For any number of particles E[exp(log_normalizer) * weighted mean of f] is Z * E_mixture[f].

    500 independent runs of 6 particles, for f = 1 and an arbitrary f; each z-test at level 1e-4.
    """
    torch.manual_seed(3)
    runs, count = 500, 6
    prompts = [PROMPT] * runs
    out = sample_mixture(model, TOKENIZER, prompts, LENGTH, lam, count, resample_below)
    f = np.random.default_rng(0).normal(size=len(space.sequences))
    probabilities, log_normalizer = space.mixture(lam)
    normalizers = out.log_normalizer.exp().numpy()
    shares = out.log_weights.softmax(-1).numpy()
    values = f[places_of(space, out, slice(None))].reshape(runs, count)
    true_normalizer = np.exp(log_normalizer)
    for estimates, truth in (
        (normalizers, true_normalizer),
        (normalizers * (shares * values).sum(-1), true_normalizer * (probabilities @ f)),
    ):
        z = (estimates.mean() - truth) / (estimates.std(ddof=1) / np.sqrt(runs))
        assert abs(z) < Z_LIMIT
    assert (out.resampled > 0).any() == (resample_below > 0)


def test_picks_follow_the_mixture_and_not_the_sampler(model, space):
    """Chi-square over all completions expected five times, at level 1e-4.

    64 particles leave a bias far below what it can see. At this lam as many draws from the sampler
    itself are rejected, so the test can tell the two apart.
    """
    lam, runs = 0.5, 1500
    torch.manual_seed(0)
    out = sample_mixture(model, TOKENIZER, [PROMPT] * runs, LENGTH, lam, 64)
    truth = space.mixture(lam)[0]
    counts = np.bincount(places_of(space, out, out.pick()), minlength=len(truth))
    assert p_value(counts, truth) > 1e-4
    from_the_sampler = np.random.default_rng(0).multinomial(runs, space.sampler(lam))
    assert p_value(from_the_sampler, truth) < 1e-4


def test_systematic_resampling_copies_each_particle_its_expected_number_of_times_rounded():
    torch.manual_seed(1)
    weights = torch.rand(50, 8, dtype=torch.double) ** 3
    ancestors, resampled = _ancestors(weights.log(), 1.0, None)
    assert resampled.all()
    for row, (own, chosen) in enumerate(zip(weights, ancestors.view(50, 8), strict=True)):
        copies = torch.bincount(chosen - 8 * row, minlength=8)
        expected = 8 * own / own.sum()
        assert ((copies - expected).abs() < 1).all()


def test_the_same_generator_gives_the_same_particles(model):
    arguments = (model, TOKENIZER, [PROMPT, "w5"], 6, [0.5, 1.5], 8, 1.0)
    first, second = (sample_mixture(*arguments, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.completions.input_ids, second.completions.input_ids)
    assert torch.equal(first.log_weights, second.log_weights)


def test_the_normaliser_of_an_encoder_decoder_is_unbiased():
    """T5's completions of two tokens are enumerated by its own decoder; z-test at level 1e-4."""
    parts = tiny("t5", 1), tiny("t5", 2)
    lam, runs = 0.5, 500
    log_first, log_second = zip(*map(next_token_log_probabilities, parts), strict=True)
    total = 0.0
    for first in range(13):
        log_mixed = (1 - lam) * log_first[0][first] + lam * log_first[1][first]
        # A completion whose first token is the end has no second token.
        if first == EOS:
            total += log_mixed.exp().item()
            continue
        log_mixed_second = (1 - lam) * log_second[0][first] + lam * log_second[1][first]
        total += (log_mixed + log_mixed_second).exp().sum().item()
    torch.manual_seed(0)
    out = sample_mixture(RealignedModel(*parts), TOKENIZER, [PROMPT] * runs, 2, lam, 6, 1.0)
    estimates = out.log_normalizer.exp()
    assert abs((estimates.mean() - total) / (estimates.std() / runs**0.5)) < Z_LIMIT


def next_token_log_probabilities(t5):
    """Return a T5's log-probabilities of the first token, and of the second after each first."""
    source = torch.tensor([TOKENIZER(PROMPT).input_ids])
    prefixes = torch.tensor([[1, first] for first in range(13)])
    with torch.no_grad():
        logits = t5(input_ids=source.expand(13, -1), decoder_input_ids=prefixes).logits
    logs = logits.double().log_softmax(-1)
    return logs[0, 0, :13], logs[:, 1, :13]


def test_bad_arguments_are_refused(model):
    with pytest.raises(ValueError, match="at least 2, got 1"):
        sample_mixture(model, TOKENIZER, [PROMPT], 3, 0.5, particles=1)
    two_aligned = RealignedModel(PARTS[0], [PARTS[1], tiny("llama", 3)])
    with pytest.raises(ValueError, match="one aligned model"):
        sample_mixture(two_aligned, TOKENIZER, [PROMPT], 3, 0.5)
