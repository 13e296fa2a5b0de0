"""Sequence scores against one row at a time, unpadded, in float64; and the identity that makes log_weight a weight."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast
from tokenizers import Tokenizer, models, pre_tokenizers

from dera import Completions, RealignedModel, log_probabilities, sample_completions, score_completions
from tests.dera.conftest import EOS, PAD, tiny_llama

ROWS = [([3, 4, 5], [6, 7, EOS]), ([8], [2, EOS]), ([9, 9], [4])]


@pytest.fixture()
def completions() -> Completions:
    ids = [[PAD] * (3 - len(p)) + p + c + [PAD] * (3 - len(c)) for p, c in ROWS]
    mask = [[0] * (3 - len(p)) + [1] * (len(p) + len(c)) + [0] * (3 - len(c)) for p, c in ROWS]
    return Completions(torch.tensor(ids), torch.tensor(mask), 3, EOS)


def log_prob(model, prompt, completion):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
    return sum(logits[len(prompt) - 1 + t, token] for t, token in enumerate(completion)).item()


def test_scores_equal_one_row_at_a_time(pair, completions):
    reference, aligned, copy = pair
    scores = score_completions(RealignedModel(reference, aligned), completions, [0.3, 1.0, 2.0])
    for row, (prompt, completion) in enumerate(ROWS):
        assert scores.reference[row].item() == pytest.approx(log_prob(copy, prompt, completion), abs=1e-4)
        assert scores.aligned[row].item() == pytest.approx(log_prob(aligned, prompt, completion), abs=1e-4)
    torch.testing.assert_close(log_probabilities(copy, completions), scores.reference, atol=1e-5, rtol=1e-5)


def test_log_weight_is_what_the_sampler_leaves_out(pair, completions):
    """log p_ref^(1-lam) p_aligned^lam = log p_sampler + sum_t log Z_t, for every sequence."""
    reference, aligned, _ = pair
    lam = torch.tensor([-0.5, 0.4, 3.0], dtype=torch.double)
    scores = score_completions(RealignedModel(reference, aligned), completions, lam.float())
    unnormalised = (1 - lam) * scores.reference + lam * scores.aligned
    torch.testing.assert_close(unnormalised, scores.sampler + scores.log_weight, atol=1e-4, rtol=1e-4)


def test_completions_know_where_they_end(completions):
    assert completions.token_ids() == [[6, 7], [2], [4]]
    assert completions.finished() == [True, True, False]


def test_sampling_masks_everything_after_the_end():
    vocabulary = {"<eos>": EOS, "<pad>": PAD, **{f"w{i}": i for i in range(2, 13)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    torch.manual_seed(3)
    drawn = sample_completions(tiny_llama(5), tokenizer, ["w3 w4 w5", "w6"] * 40, 12)
    ended = [ids.tolist().index(EOS) + 1 if EOS in ids else 12 for ids in drawn.input_ids[:, 3:]]
    assert min(ended) < max(ended)
    assert drawn.attention_mask[:, 3:].sum(-1).tolist() == ended
    assert drawn.attention_mask[1].tolist()[:3] == [0, 0, 1]
