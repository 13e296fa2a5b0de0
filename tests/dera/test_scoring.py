"""Sequence scores against one row at a time, unpadded, in float64; and the identity that makes log_weight a weight."""

import pytest
import torch
from scipy import stats
from transformers import PreTrainedTokenizerFast

from dera import (
    ChatTokenizer,
    Completions,
    RealignedModel,
    log_probabilities,
    sample_and_score,
    sample_completions,
    score_completions,
)
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

ROWS = [([3, 4, 5], [6, 7, EOS]), ([8], [2, EOS]), ([9, 9], [4])]


@pytest.fixture
def completions() -> Completions:
    ids = [[PAD] * (3 - len(p)) + p + c + [PAD] * (3 - len(c)) for p, c in ROWS]
    mask = [[0] * (3 - len(p)) + [1] * (len(p) + len(c)) + [0] * (3 - len(c)) for p, c in ROWS]
    return Completions(torch.tensor(ids), torch.tensor(mask), 3, (EOS,))


def log_prob(model, prompt, completion):
    with torch.no_grad():
        logits = (
            model(input_ids=torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
        )
    return sum(logits[len(prompt) - 1 + t, token] for t, token in enumerate(completion)).item()


def test_scores_equal_one_row_at_a_time(pair, completions):
    reference, aligned, copy = pair
    scores = score_completions(RealignedModel(reference, aligned), completions, [0.3, 1.0, 2.0])
    for row, (prompt, completion) in enumerate(ROWS):
        assert scores.reference[row].item() == pytest.approx(
            log_prob(copy, prompt, completion), abs=1e-4
        )
        assert scores.aligned[row].item() == pytest.approx(
            log_prob(aligned, prompt, completion), abs=1e-4
        )
    torch.testing.assert_close(
        log_probabilities(copy, completions), scores.reference, atol=1e-5, rtol=1e-5
    )


def test_log_weight_is_what_the_sampler_leaves_out(pair, completions):
    """log p_ref^(1-lam) p_aligned^lam = log p_sampler + sum_t log Z_t, for every sequence."""
    reference, aligned, _ = pair
    lam = torch.tensor([-0.5, 0.4, 3.0], dtype=torch.double)
    scores = score_completions(RealignedModel(reference, aligned), completions, lam.float())
    unnormalised = (1 - lam) * scores.reference + lam * scores.aligned
    torch.testing.assert_close(
        unnormalised, scores.sampler + scores.log_weight, atol=1e-4, rtol=1e-4
    )


def test_completions_know_where_they_end(completions):
    assert completions.token_ids() == [[6, 7], [2], [4]]
    assert completions.finished() == [True, True, False]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


def test_sampling_masks_everything_after_the_end(tokenizer):
    torch.manual_seed(3)
    drawn = sample_completions(tiny("llama", 5), tokenizer, ["w3 w4 w5", "w6"] * 40, 12)
    ended = [ids.tolist().index(EOS) + 1 if EOS in ids else 12 for ids in drawn.input_ids[:, 3:]]
    assert min(ended) < max(ended)
    assert drawn.attention_mask[:, 3:].sum(-1).tolist() == ended
    assert drawn.attention_mask[1].tolist()[:3] == [0, 0, 1]


def test_rows_that_leave_the_batch_change_nothing_for_the_others(pair, tokenizer):
    """Greedy decoding equals transformers' generate token for token, whatever ends when, with a lam for each row."""
    model = RealignedModel(*pair[:2])
    prompts = [" ".join(f"w{2 + (i * j) % 11}" for j in range(1, 2 + i % 5)) for i in range(24)]
    lam = torch.linspace(-0.5, 3, 24)
    ours = sample_completions(model, tokenizer, prompts, 12, lam=lam, greedy=True)
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    theirs = model.generate(
        batch.input_ids,
        attention_mask=batch.attention_mask,
        lam=lam,
        max_new_tokens=12,
        do_sample=False,
    )
    assert torch.equal(ours.input_ids, theirs)
    ends = ours.attention_mask[:, -ours.completion_length :].sum(-1)
    assert len(set(ends.tolist())) > 2


@pytest.mark.parametrize("kind", ["two models", "adapter", "one model", "encoder-decoder"])
def test_a_prompt_that_occurs_several_times_is_read_once(kind, tokenizer):
    """Greedily, at twelve lam of three prompts in one batch: what each gives in a batch of its own, from three rows of prompts."""
    base = tiny("t5" if kind == "encoder-decoder" else "llama", 1)
    others = {"two models": lambda: tiny("llama", 2), "encoder-decoder": lambda: tiny("t5", 2)}
    model = base
    if kind != "one model":
        model = (
            RealignedModel(None, tiny_adapter(base, 2))
            if kind == "adapter"
            else RealignedModel(base, others[kind]())
        )
    lams = [None] * 12 if kind == "one model" else torch.linspace(-0.5, 3, 12).tolist()
    prompts = ["w3 w4 w5", "w6", "w2 w9"] * 4
    options = dict(max_new_tokens=8, greedy=True)
    alone = [
        sample_completions(model, tokenizer, [p], lam=lam, **options).token_ids()[0]
        for p, lam in zip(prompts, lams, strict=True)
    ]
    rows = []
    reader = base.get_encoder() if kind == "encoder-decoder" else base.get_input_embeddings()
    reader.register_forward_hook(
        lambda module, inputs, output: rows.append(
            len(output[0] if isinstance(output, dict) else output)
        )
    )
    together = sample_completions(
        model, tokenizer, prompts, lam=None if kind == "one model" else lams, **options
    )
    assert together.token_ids() == alone
    assert rows[0] == (6 if kind == "adapter" else 3)
    assert together.attention_mask.sum(-1).tolist() == [
        n + (1 if kind == "encoder-decoder" else len(p.split()))
        for p, n in zip(prompts, together.lengths(), strict=True)
    ]


def test_scores_taken_while_decoding_equal_scores_taken_afterwards(pair, tokenizer):
    model, prompts, lam = (
        RealignedModel(*pair[:2]),
        ["w3 w4 w5", "w6"] * 20,
        torch.linspace(-0.5, 3, 40),
    )
    torch.manual_seed(0)
    completions, scores = sample_and_score(model, tokenizer, prompts, 8, lam)
    afterwards = score_completions(model, completions, lam)
    for name in ("reference", "aligned", "sampler", "log_weight"):
        torch.testing.assert_close(
            getattr(scores, name), getattr(afterwards, name), atol=1e-4, rtol=1e-4
        )


def test_sampled_frequencies_follow_the_model_also_after_rows_have_left(tokenizer):
    """Chi-square at level 1e-4 of the second token, given that the first did not end the completion."""
    model, draws = tiny("llama", 7), 6000
    torch.manual_seed(0)
    drawn = sample_completions(model, tokenizer, ["w3 w4"] * draws, 2)
    pairs = [row for row in drawn.input_ids[:, 2:].tolist() if row[0] != EOS]
    first = max({row[0] for row in pairs}, key=[row[0] for row in pairs].count)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[3, 4, first]])).logits[0, -1].double().softmax(-1)
    seconds = torch.tensor([row[1] for row in pairs if row[0] == first])
    assert len(seconds) < draws
    common = expected * len(seconds) >= 5
    observed = torch.bincount(seconds, minlength=len(expected)).double()
    fold = lambda values: [*values[common].tolist(), values[~common].sum().item()]  # noqa: E731
    assert stats.chisquare(fold(observed), fold(expected * len(seconds))).pvalue > 1e-4


def test_what_cannot_be_decoded_is_refused_before_anything_is(pair, tokenizer):
    model = RealignedModel(*pair[:2])
    with pytest.raises(ValueError, match=r"prompt 1 of 2 has no tokens.*''"):
        sample_completions(model, tokenizer, ["w3", ""], 4)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        sample_completions(model, tokenizer, ["w3"], 0)
    with pytest.raises(ValueError, match="a schedule of lam is for generate and forward"):
        sample_and_score(model, tokenizer, ["w3"], 4, lambda positions: positions / 4)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="padding token"):
        sample_completions(model, tokenizer, ["w3"], 4)


def test_a_chat_s_special_tokens_are_written_once(tokenizer):
    tokenizer.chat_template = "{% for turn in messages %}w2 {{ turn.content }} {% endfor %}w9"
    chat = ChatTokenizer(tokenizer, system="w7")
    expected = tokenizer.apply_chat_template(
        [{"role": "system", "content": "w7"}, {"role": "user", "content": "w3 w4"}],
        add_generation_prompt=True,
    ).input_ids
    torch.manual_seed(0)
    drawn = sample_completions(tiny("llama", 1), chat, ["w3 w4"], 2)
    assert drawn.input_ids[0, :-2].tolist() == expected == [2, 7, 2, 3, 4, 9]
    with pytest.raises(ValueError, match="no chat template"):
        ChatTokenizer(word_tokenizer())
