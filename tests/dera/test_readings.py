"""Readings of completions, compared with sums over every completion of a tiny space in float64."""

import numpy as np
import pytest
import torch

from dera import Completions, RealignedModel, log_probabilities, read, sample_completions
from dera.readings import kl, kl_by_lam
from dera.teacher_forcing import (
    at_tokens,
    next_token_log_probs,
    sum_over_tokens,
    tokens_of,
)
from tests.dera.architectures import DECODERS, EOS, PAD, tiny
from tests.dera.enumeration import Space
from tests.dera.tokenizers import word_tokenizer

LAMS = [-0.5, 0.0, 0.3, 1.0, 1.7, 3.0]
PROMPT = [3, 4, 5]
LENGTH = 3


@pytest.fixture(scope="module")
def models():
    """A policy, the reference and the aligned model, whose next-token distributions differ."""
    return tiny("llama", 4), tiny("llama", 1), tiny("llama", 2)


def rows(sequences, prompts=None) -> Completions:
    """Completions of the prompts, by default of PROMPT, padded on both sides."""
    prompts = prompts or [PROMPT] * len(sequences)
    width = max(map(len, prompts)) + 1  # one column of padding stands before every prompt
    ids = [[PAD] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    finished = [sequence[-1] == EOS for sequence in sequences]
    without_end = [[token for token in sequence if token != EOS] for sequence in sequences]
    return Completions.from_token_ids(
        torch.tensor(ids), torch.tensor(mask), without_end, finished, (EOS,)
    )


class Enumerated:
    """Every completion that ends or has LENGTH tokens, with the policy's probabilities."""

    def __init__(self, policy, reference, aligned):
        self.space = Space(reference, aligned, PROMPT, LENGTH, EOS)
        self.log_q = Space(policy, policy, PROMPT, LENGTH, EOS).reference
        self.q = np.exp(self.log_q)

    def kl(self, log_p: np.ndarray) -> float:
        """KL(q || p) over whole completions, in nats."""
        return float(self.q @ (self.log_q - log_p))

    def kl_to_dera(self, lam: float) -> float:
        return self.kl(self.space.log_sampler(lam))


@pytest.fixture(scope="module")
def truth(models) -> Enumerated:
    return Enumerated(*models)


@pytest.fixture(scope="module")
def readings(models, truth):
    return read(*models, rows(truth.space.sequences), LAMS)


def test_the_mean_over_all_completions_is_the_kl_over_sequences(truth, readings):
    assert truth.q.sum() == pytest.approx(1)
    means = readings.by_lam.kl.numpy() @ truth.q
    expected = [truth.kl_to_dera(lam) for lam in LAMS]
    assert min(expected) > 0.1
    assert means == pytest.approx(expected, rel=1e-5)
    assert readings.to_reference.numpy() @ truth.q == pytest.approx(
        truth.kl(truth.space.reference), rel=1e-5
    )
    assert readings.to_aligned.numpy() @ truth.q == pytest.approx(
        truth.kl(truth.space.aligned), rel=1e-5
    )


def test_the_mean_slope_is_the_derivative_of_the_kl_over_sequences(truth, readings):
    step = 1e-4
    slopes = []
    for lam in LAMS:
        rise = truth.kl_to_dera(lam + step) - truth.kl_to_dera(lam - step)
        slopes.append(rise / (2 * step))
    assert readings.by_lam.slope.numpy() @ truth.q == pytest.approx(slopes, rel=1e-4, abs=1e-4)


def test_sampled_completions_estimate_the_kl_within_their_standard_error(models, truth):
    """The estimate lies within 4.5 standard errors, which chance misses once in 150,000 times."""
    torch.manual_seed(0)
    drawn = sample_completions(models[0], word_tokenizer(), ["w3 w4 w5"] * 2000, LENGTH)
    prompt = word_tokenizer()("w3 w4 w5")["input_ids"]
    assert prompt == PROMPT
    read_of = read(*models, drawn, [1.7]).by_lam.kl[0]
    error = read_of.std() / len(read_of) ** 0.5
    assert abs(read_of.mean() - truth.kl_to_dera(1.7)) < 4.5 * error


def test_at_lam_0_dera_is_the_reference_and_at_lam_1_the_aligned_model(readings):
    by_lam = dict(zip(LAMS, readings.by_lam.kl, strict=True))
    torch.testing.assert_close(by_lam[0.0], readings.to_reference, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_lam[1.0], readings.to_aligned, atol=1e-5, rtol=1e-5)


def test_the_aligned_model_itself_has_no_divergence_and_no_slope_at_lam_1(models, truth):
    _, reference, aligned = models
    of_itself = read(aligned, reference, aligned, rows(truth.space.sequences), [1.0]).by_lam
    assert of_itself.kl.abs().max() < 1e-5
    assert of_itself.slope.abs().max() < 1e-5


def test_far_lams_overflow_nowhere(models, truth):
    """At lam = 200 some exponents are beyond what float32 can hold."""
    completions = rows(truth.space.sequences)
    log_q, log_reference, log_aligned = [next_token_log_probs(m, completions) for m in models]
    assert 200 * (log_aligned - log_reference).max() > 200
    far = kl_by_lam(log_q, log_reference, log_aligned, [-200.0, 200.0], completions)
    expected = [truth.kl_to_dera(lam) for lam in (-200, 200)]
    assert far.kl.numpy() @ truth.q == pytest.approx(expected, rel=1e-5)


SEQUENCES = [(6, 7, EOS), (2, EOS), (4,), (6, 9, EOS), (EOS,)]
PROMPTS = [[3, 4, 5], [8], [9, 9], [3, 4, 5], [8]]


@pytest.mark.parametrize("architecture", DECODERS)
def test_rows_that_share_a_prompt_read_as_each_row_does_alone(architecture):
    """Prompts are padded and shared, and rows have ended: none of it may count."""
    three = [tiny(architecture, seed) for seed in (4, 1, 2)]
    together = read(*three, rows(SEQUENCES, PROMPTS), LAMS)
    for row, (sequence, prompt) in enumerate(zip(SEQUENCES, PROMPTS, strict=True)):
        ids = torch.tensor([[*prompt, *sequence]])
        start = len(prompt) - 1
        logs = []
        for model in three:
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, start:-1]
            logs.append(logits.double().log_softmax(-1))
        q, reference, aligned = logs
        to_reference = (q.exp() * (q - reference)).sum().item()
        assert together.to_reference[row].item() == pytest.approx(to_reference, abs=1e-4)
        for place, lam in enumerate(LAMS):
            mixed = ((1 - lam) * reference + lam * aligned).log_softmax(-1)
            expected = (q.exp() * (q - mixed)).sum().item()
            assert together.by_lam.kl[place, row].item() == pytest.approx(expected, abs=1e-4)


def test_prompts_that_are_shared_are_read_once(models):
    policy = models[0]
    lengths = []

    def count(module, inputs, output):
        lengths.append(tuple(output.shape[:2]))

    hook = policy.get_input_embeddings().register_forward_hook(count)
    next_token_log_probs(policy, rows(SEQUENCES, PROMPTS))
    hook.remove()
    assert lengths == [(3, 4), (5, 2)]


def test_encoder_decoders_are_read_as_they_are_scored():
    """The log-probabilities of the drawn tokens are those that `log_probabilities` sums."""
    model = tiny("t5", 1)
    torch.manual_seed(0)
    drawn = sample_completions(model, word_tokenizer(), ["w3 w4 w5", "w6"], 5)
    chosen = at_tokens(next_token_log_probs(model, drawn), tokens_of(drawn))
    torch.testing.assert_close(sum_over_tokens(chosen, drawn), log_probabilities(model, drawn))


def test_completions_from_token_ids_are_those_that_were_drawn(models):
    torch.manual_seed(1)
    drawn = sample_completions(models[0], word_tokenizer(), ["w3 w4 w5", "w6"] * 10, 6)
    assert len(set(drawn.finished())) == 2
    prompt = drawn.input_ids.shape[1] - drawn.completion_length
    again = Completions.from_token_ids(
        drawn.input_ids[:, :prompt],
        drawn.attention_mask[:, :prompt],
        drawn.token_ids(),
        drawn.finished(),
        drawn.end_token_ids,
    )
    assert torch.equal(again.attention_mask, drawn.attention_mask)
    assert again.token_ids() == drawn.token_ids()
    assert again.finished() == drawn.finished()


def test_a_realigned_model_can_be_the_policy(models, truth):
    """DeRa at lam reads itself: its divergence from DeRa at that lam is 0."""
    _, reference, aligned = models
    policy = RealignedModel(reference, aligned, lam=0.3)
    found = read(policy, reference, aligned, rows(truth.space.sequences), [0.3])
    assert found.by_lam.kl.abs().max() < 1e-5


def test_what_does_not_fit_is_refused(models):
    completions = rows(SEQUENCES, PROMPTS)
    logs = [next_token_log_probs(model, completions) for model in models]
    with pytest.raises(ValueError, match=r"have 10 tokens and .* \(9, 13\)"):
        kl(logs[0], logs[1][:-1], completions)
    excluded = logs[2].clone()
    excluded[0, 3] = -torch.inf
    with pytest.raises(ValueError, match="probability 0"):
        kl_by_lam(logs[0], logs[1], excluded, [0.5], completions)
