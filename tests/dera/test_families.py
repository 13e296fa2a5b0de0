"""Families whose state is more than keys and values, and families with conventions of their own.

The truth is the oracle: each row alone, each model by itself, without cache, padding or batch. A
family that cannot be right is refused, and the remedy that the refusal names is tried.
"""

from __future__ import annotations

import pytest
import torch
import transformers as tf
from torch.testing import assert_close
from transformers import DynamicCache, cache_utils

from dera.decoding import sample_completions
from dera.model.realigned import RealignedModel
from dera.model.row_selection import select_rows
from dera.scoring import sample_and_score, score_completions
from dera.teacher_forcing import next_token_log_probs
from tests.dera.architectures import EOS, HYBRIDS, PAD, tiny, tiny_adapter
from tests.dera.oracle import greedy, mixed, next_logits, part_logits
from tests.dera.tokenizers import word_tokenizer

#: Decoders with a state, and decoders that count positions from 0 and after the padding token.
DECODERS = [*HYBRIDS, "bert", "roberta"]
#: Prompts of several lengths, one of them twice; the longest is longer than a chunk of a scan.
PROMPTS = [[5, 6, 7, 8, 9, 10, 11, 12, 3, 4, 2], [4, 3], [4, 3], [9, 8, 7, 6]]
LAMS = [0.0, 0.5, 1.0, 1.5]
STEPS = 5
SOURCES = [[3, 4, 5, 6, 7, 8, 9, 10], [11, 12], [11, 12]]
TARGET = [4, 5, 6, EOS]


@pytest.fixture(scope="module", params=DECODERS)
def pair(request):
    """(the realigned model, its reference and aligned model), of one family."""
    return _pair(request.param)


@pytest.fixture(scope="module", params=["blenderbot", "m2m_100", "t5gemma", "two_roberta"])
def seq2seq(request):
    """The same of encoder-decoders."""
    return _pair(request.param)


def _pair(family):
    parts = [_never_says_padding(tiny(family, seed)) for seed in (1, 2)]
    return RealignedModel(*parts), parts


def _never_says_padding(model):
    """RoBERTa does not count padding tokens as text, so that a text must not have any."""
    if model.config.model_type == "roberta":
        with torch.no_grad():
            model.lm_head.bias[PAD] = -50
    return model


def _batch(rows, side="left"):
    return word_tokenizer().pad({"input_ids": rows}, padding_side=side, return_tensors="pt")


def _texts(completions):
    """The completions as tokens, the end of sequence included."""
    ids = completions.token_ids()
    return [row + [EOS] * end for row, end in zip(ids, completions.finished(), strict=True)]


def _starts_with(rows, expected):
    """Whether rows begin with the expected tokens, which may end early, where two tokens tie."""
    return all(row[: len(truth)] == truth for row, truth in zip(rows, expected, strict=True))


def _next_log_probs(parts, lam, prompt, text, source=None):
    """The log-probabilities that predict each token of a text after a prompt."""
    logits = next_logits(parts, lam, prompt + text, source)
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def _log_prob(*arguments):
    """The log-probability of a text, with the arguments of `_next_log_probs`."""
    text = torch.tensor(arguments[3])
    return _next_log_probs(*arguments).gather(1, text[:, None]).sum().item()


def test_padded_rows_are_rows_alone(pair):
    model, parts = pair
    batch = _batch(PROMPTS)
    with torch.no_grad():
        logits = model(**batch, lam=LAMS).logits
    for row, mask, lam, prompt in zip(logits, batch["attention_mask"], LAMS, PROMPTS, strict=True):
        expected = next_logits(parts, [lam], prompt).float()
        assert_close(row[mask.bool()], expected, rtol=1e-3, atol=1e-3)


def test_rows_that_end_leave_the_batch_and_its_state(pair):
    model, parts = pair
    expected = [
        greedy(parts, [lam], prompt, STEPS, EOS) for lam, prompt in zip(LAMS, PROMPTS, strict=True)
    ]
    sampled = sample_completions(model, word_tokenizer(), PROMPTS, STEPS, lam=LAMS, greedy=True)
    assert _starts_with(_texts(sampled), expected)

    # `generate` keeps all rows.
    batch = _batch(PROMPTS)
    sequences = model.generate(**batch, lam=LAMS, max_new_tokens=STEPS, do_sample=False)
    assert _starts_with(sequences[:, batch["input_ids"].shape[1] :].tolist(), expected)


def test_scores_are_those_of_rows_alone(pair):
    model, parts = pair
    torch.manual_seed(0)
    completions, sampled = sample_and_score(model, word_tokenizer(), PROMPTS, STEPS, LAMS)
    texts = _texts(completions)
    cases = list(zip(LAMS, PROMPTS, texts, strict=True))
    expected = [
        [_log_prob(parts, [weight], prompt, text) for lam, prompt, text in cases]
        for weight in (0.0, 1.0)
    ]
    expected.append([_log_prob(parts, [lam], prompt, text) for lam, prompt, text in cases])
    truth = torch.tensor(expected, dtype=torch.double)
    for scores in (sampled, score_completions(model, completions, LAMS)):
        of_models = torch.stack([scores.reference, scores.aligned, scores.sampler])
        assert_close(of_models, truth, rtol=1e-3, atol=2e-3)

    logs = next_token_log_probs(parts[0], completions)
    rows = [_next_log_probs(parts[:1], [], prompt, text) for _, prompt, text in cases]
    assert_close(logs, torch.cat(rows).float(), rtol=1e-3, atol=1e-3)


def test_beams_take_their_state_along(pair):
    model, _ = pair
    options = dict(lam=LAMS, max_new_tokens=4, do_sample=False, num_beams=2)
    cached = model.generate(**_batch(PROMPTS), **options)
    uncached = model.generate(**_batch(PROMPTS), **options, use_cache=False)
    assert torch.equal(cached, uncached)


def test_an_adapter_on_a_hybrid_model_has_a_state_of_its_own():
    reference, adapted = tiny("qwen3_next", 1), tiny_adapter(tiny("qwen3_next", 1), 2)
    model = RealignedModel(None, adapted)
    sampled = sample_completions(model, word_tokenizer(), PROMPTS, STEPS, lam=LAMS, greedy=True)
    parts = [reference, adapted]
    expected = [
        greedy(parts, [lam], prompt, STEPS, EOS) for lam, prompt in zip(LAMS, PROMPTS, strict=True)
    ]
    assert _starts_with(_texts(sampled), expected)


@pytest.mark.parametrize("number_of_rows", [2, 3, 5])
def test_every_state_of_a_layer_is_selected(number_of_rows):
    """The layer keeps keys, values, the inputs of a convolution and a recurrent state."""
    layer = cache_utils.LinearAttentionAndFullAttentionLayer()
    of_rows = torch.arange(3.0).view(3, 1, 1, 1)
    layer.update(of_rows, of_rows + 10)
    layer.update_conv_state(of_rows[..., 0] + 20)
    layer.update_recurrent_state(of_rows + 30)
    cache = DynamicCache()
    cache.layers = [layer]

    rows = torch.tensor([2, 0, 1, 1, 2])[:number_of_rows]
    select_rows(cache, rows)
    kept = [layer.keys, layer.values, layer.conv_states[0], layer.recurrent_states[0]]
    for offset, values in zip((0, 10, 20, 30), kept, strict=True):
        assert values.flatten().tolist() == (rows + offset).tolist()


def test_positions_are_the_familys_own_where_nothing_is_padded():
    reference = tiny("roberta", 1)
    model = RealignedModel(reference, tiny("roberta", 2))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = reference(ids).logits
        for mask in (None, torch.ones_like(ids)):
            assert_close(model(ids, attention_mask=mask, lam=0).logits, expected)


def test_models_that_count_positions_differently_are_refused():
    with pytest.raises(ValueError, match="different position ids.*'reference': 2, 'aligned': 0"):
        RealignedModel(tiny("roberta", 1), tiny("bert", 2))


def test_a_state_outside_the_cache_is_refused_by_family():
    parts = [tiny("recurrent_gemma", 1), tiny("recurrent_gemma", 2)]
    with pytest.raises(ValueError, match="reference is a recurrent_gemma model, which keeps"):
        RealignedModel(*parts)
    mamba = tf.MambaForCausalLM(
        tf.MambaConfig(vocab_size=13, hidden_size=16, num_hidden_layers=1, state_size=4)
    )
    with pytest.raises(ValueError, match="aligned is a mamba model, which keeps no past_key"):
        RealignedModel(tiny("llama", 1), mamba)


@pytest.mark.parametrize(
    ("family", "layer_types", "reason"),
    [
        ("qwen3_next", ["linear_attention"] * 2, "has no layer with attention"),
        ("minimax", ["linear_attention", "full_attention"], "has no attention in its first layer"),
    ],
)
def test_a_cache_that_does_not_know_its_tokens_is_refused(family, layer_types, reason):
    parts = [tiny(family, seed, layer_types=layer_types) for seed in (1, 2)]
    with pytest.raises(ValueError, match=f"{family} model, which {reason}"):
        RealignedModel(*parts)


def test_padding_that_would_be_summarised_is_refused_and_rows_of_one_length_are_right():
    parts = [tiny("deepseek_v4", 1), tiny("deepseek_v4", 2)]
    model = RealignedModel(*parts)
    with pytest.raises(ValueError, match=r"reference \(deepseek_v4\), aligned .*rows of one len"):
        sample_completions(model, word_tokenizer(), PROMPTS, STEPS, lam=LAMS)
    prompts, lams = [[9, 8, 7, 6], [5, 6, 7, 8], [5, 6, 7, 8]], [0.0, 0.5, 1.0]
    sampled = sample_completions(model, word_tokenizer(), prompts, STEPS, lam=lams, greedy=True)
    expected = [
        greedy(parts, [lam], prompt, STEPS, EOS) for lam, prompt in zip(lams, prompts, strict=True)
    ]
    assert _starts_with(_texts(sampled), expected)


def test_another_cache_than_a_familys_own_is_refused_and_its_own_serves():
    model, _ = _pair("minimax")
    ids = torch.tensor([[5, 6, 7]])
    options = dict(lam=0.5, max_new_tokens=3, do_sample=False)
    with pytest.raises(ValueError, match="leave cache_implementation and past_key_values away"):
        model.generate(ids, **options, cache_implementation="static")
    assert model.generate(ids, **options).shape == (1, 6)


def test_an_assistant_cannot_draft_for_a_model_whose_state_cannot_be_taken_back():
    model = RealignedModel(tiny("jamba", 1), tiny("jamba", 2))
    options = dict(max_new_tokens=3, lam=0.5, prompt_lookup_num_tokens=2)
    with pytest.raises(ValueError, match="stateful"):
        model.generate(torch.tensor([[5, 6, 5, 6]]), **options)


def test_several_tokens_after_a_cache_are_refused_where_they_would_be_forgotten():
    """One token at a time, and the whole text at once, are right."""
    parts = [tiny("jamba", 1), tiny("jamba", 2)]
    model = RealignedModel(*parts)
    ids = torch.tensor([PROMPTS[0]])
    expected = next_logits(parts, [0.5], PROMPTS[0])[-1].float()
    with torch.no_grad():
        cache = model(ids[:, :4], lam=0.5, use_cache=True).past_key_values
        with pytest.raises(ValueError, match=r"\['jamba'\] forget .* read one token at a time"):
            model(ids[:, 4:], lam=0.5, past_key_values=cache)
        for token in ids[:, 4:].T:
            output = model(token[None], lam=0.5, past_key_values=cache)
        assert_close(output.logits[0, -1], expected, rtol=1e-3, atol=1e-3)
        assert_close(model(ids, lam=0.5).logits[0, -1], expected, rtol=1e-3, atol=1e-3)


def test_encoder_decoders_decode_as_rows_alone(seq2seq):
    """The source of the first row is longer than the window of T5Gemma's decoder."""
    model, parts = seq2seq
    start, lams = model.config.decoder_start_token_id, [0.5, 0.0, 1.0]
    cases = list(zip(lams, SOURCES, strict=True))
    expected = [greedy(parts, [lam], [start], STEPS, EOS, source) for lam, source in cases]
    sampled = sample_completions(model, word_tokenizer(), SOURCES, STEPS, lam=lams, greedy=True)
    assert _starts_with(_texts(sampled), expected)
    for side in ("left", "right"):
        batch = _batch(SOURCES, side)
        sequences = model.generate(**batch, lam=lams, max_new_tokens=STEPS, do_sample=False)
        assert _starts_with(sequences[:, 1:].tolist(), expected)


@pytest.mark.parametrize("ignored", [0, 2])
def test_labels_are_shifted_as_the_family_shifts_them(seq2seq, ignored):
    model, parts = seq2seq
    labels = torch.tensor([TARGET])
    labels[0, 1 : 1 + ignored] = -100
    inputs = dict(input_ids=torch.tensor([SOURCES[0]]), labels=labels)
    with torch.no_grad():
        own = parts[0](**inputs, use_cache=False)
        assert_close(model(**inputs, lam=0).loss, own.loss, rtol=1e-4, atol=1e-4)
        loss = model(**inputs, lam=0.5).loss

    # The mixture, from the decoder's tokens: the start token, then the labels but the last.
    if not ignored:
        ids = [model.config.decoder_start_token_id, *TARGET[:-1]]
        logits = mixed([part_logits(part, ids, SOURCES[0]) for part in parts], [0.5])
        expected = torch.nn.functional.cross_entropy(logits, labels[0])
        assert_close(loss, expected.float(), rtol=1e-4, atol=1e-4)
