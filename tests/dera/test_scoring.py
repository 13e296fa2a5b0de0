"""Sequence scores, and the completions that they are taken of.

Scores are compared with those of one row at a time, unpadded, in float64, and with the identity
that makes log_weight a weight.
"""

import pytest
import torch
from peft import LoraConfig
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
from dera.scoring import sample_and_score_policy
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

ROWS = [([3, 4, 5], [6, 7, EOS]), ([8], [2, EOS]), ([9, 9], [4])]


def rows_of_ids(rows) -> Completions:
    """Prompts padded to three tokens at the left, and completions to three at the right."""
    ids = [[PAD] * (3 - len(p)) + p + c + [PAD] * (3 - len(c)) for p, c in rows]
    mask = [[0] * (3 - len(p)) + [1] * (len(p) + len(c)) + [0] * (3 - len(c)) for p, c in rows]
    return Completions(torch.tensor(ids), torch.tensor(mask), 3, (EOS,))


@pytest.fixture
def completions() -> Completions:
    return rows_of_ids(ROWS)


def log_prob(model, prompt, completion):
    """The log-probability of one completion, in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
    logs = logits.double().log_softmax(-1)
    return sum(logs[len(prompt) - 1 + t, token] for t, token in enumerate(completion)).item()


def log_probs(model):
    """Those of all ROWS."""
    return [log_prob(model, prompt, completion) for prompt, completion in ROWS]


def test_scores_equal_those_of_one_row_at_a_time(pair, completions):
    reference, aligned, copy = pair
    scores = score_completions(RealignedModel(reference, aligned), completions, [0.3, 1.0, 2.0])
    assert scores.reference.tolist() == pytest.approx(log_probs(copy), abs=1e-4)
    assert scores.aligned.tolist() == pytest.approx(log_probs(aligned), abs=1e-4)
    alone = log_probabilities(copy, completions)
    torch.testing.assert_close(alone, scores.reference, atol=1e-5, rtol=1e-5)


SHARED = [([3, 4, 5], [6, 7, EOS]), ([8], [2, EOS]), ([3, 4, 5], [4]), ([8], [9, 6, 4])]


def three_models(kind):
    """A realigned model of two aligned models."""
    if kind == "whole":
        models = [tiny("llama", seed) for seed in (1, 2, 3)]
        return RealignedModel(models[0], models[1:])
    upper = {"target_modules": ["q_proj", "v_proj", "down_proj"], "layers_to_transform": [1]}
    model = tiny_adapter(tiny("llama", 1), 2, **upper)
    model.add_adapter("second", LoraConfig(r=2, init_lora_weights=False, **upper))
    return RealignedModel(None, model, adapters=["default", "second"])


@pytest.mark.parametrize("kind", ["whole", "adapters"])
def test_rows_that_share_a_prompt_score_as_each_does_alone_without_padding_and_cache(kind):
    model = three_models(kind)
    lams = torch.tensor([[0.7, 0.6], [-0.5, 1.0], [2.0, 0.3], [0.0, 1.0]])
    scores = score_completions(model, rows_of_ids(SHARED), lams)
    for number, (prompt, completion) in enumerate(SHARED):
        # The same in float64, from the logits of each model for this row.
        with torch.no_grad():
            output = model(torch.tensor([prompt + completion]), lam=[1.0, 1.0], output_parts=True)
        parts = torch.stack([output.reference_logits[0], *(a[0] for a in output.aligned_logits)])
        logs = parts[:, len(prompt) - 1 : -1].double().log_softmax(-1)
        lam = lams[number].double()
        mixed = (1 - lam.sum()) * logs[0] + (lam[:, None, None] * logs[1:]).sum(0)
        at = torch.tensor(completion)[:, None]
        of_parts = logs.gather(-1, at.expand(3, -1, 1)).sum((1, 2))
        assert scores.reference[number].item() == pytest.approx(of_parts[0].item(), abs=1e-4)
        assert scores.aligned[:, number].tolist() == pytest.approx(of_parts[1:].tolist(), abs=1e-4)
        sampler = mixed.log_softmax(-1).gather(-1, at).sum().item()
        assert scores.sampler[number].item() == pytest.approx(sampler, abs=1e-4)
        log_z = mixed.logsumexp(-1).sum().item()
        assert scores.log_weight[number].item() == pytest.approx(log_z, abs=1e-4)


@pytest.mark.parametrize("lam", [0.0, 1.0, 0.5])
def test_the_mixture_may_be_changed_without_changing_the_logits_of_the_parts(pair, lam):
    """At lam = 0 and 1 the mixture has the numbers of one part."""
    model = RealignedModel(*pair[:2])
    output = model(torch.tensor([[3, 4, 5]]), lam=lam, output_parts=True)
    parts = [output.reference_logits.clone(), output.aligned_logits.clone()]
    torch.testing.assert_close(output.logits, torch.lerp(*parts, lam))
    output.logits += 1
    assert torch.equal(output.reference_logits, parts[0])
    assert torch.equal(output.aligned_logits, parts[1])


@pytest.mark.parametrize("kind", ["whole", "adapters"])
def test_prompts_are_read_once_and_adapters_in_one_pass(kind):
    model = three_models(kind)
    shapes = []

    def count(module, inputs, output):
        shapes.append(tuple(output.shape[:2]))

    # The hook stands on the first block, which no adapter reaches. OnePass copies modules with it.
    bases = {id(part.base): part.base for part in model.parts}
    for base in bases.values():
        base.model.layers[0].register_forward_hook(count)
    score_completions(model, rows_of_ids(SHARED), torch.zeros(4, 2))
    prompts, completions = (2, 3), (4, 2)
    times = 3 if kind == "whole" else 1
    assert shapes == [prompts] * times + [completions] * times


def test_each_of_several_aligned_models_is_scored(completions):
    """The scores satisfy log p_ref + sum_i lam_i (log p_i - log p_ref) = sampler + log_weight."""
    models = [tiny("llama", seed) for seed in (1, 2, 3)]
    lam = torch.tensor([[0.75, 0.25], [1.5, -0.5], [0.0, 1.0]])
    model = RealignedModel(models[0], {"first": models[1], "second": models[2]})
    scores = score_completions(model, completions, lam)
    assert scores.aligned.shape == (2, 3)
    for scored, part in zip((scores.reference, *scores.aligned), models, strict=True):
        assert scored.tolist() == pytest.approx(log_probs(part), abs=1e-4)
    differences = scores.aligned - scores.reference
    unnormalised = scores.reference + (lam.double().T * differences).sum(0)
    torch.testing.assert_close(
        unnormalised, scores.sampler + scores.log_weight, atol=1e-4, rtol=1e-4
    )
    assert scores.sampler[2].item() == pytest.approx(scores.aligned[1, 2].item(), abs=1e-4)
    assert scores.log_weight[2].item() == pytest.approx(0, abs=1e-4)


def test_log_weight_is_the_normaliser_that_the_sampler_leaves_out(pair, completions):
    """For every sequence, log p_ref^(1-lam) p_aligned^lam = log p_sampler + sum_t log Z_t."""
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
    """Greedy text equals that of transformers' `generate`, with a lam for each row."""
    model = RealignedModel(*pair[:2])
    prompts = [" ".join(f"w{2 + (i * j) % 11}" for j in range(1, 2 + i % 5)) for i in range(24)]
    lam = torch.linspace(-0.5, 3, 24)
    drawn = sample_completions(model, tokenizer, prompts, 12, lam=lam, greedy=True)
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    generated = model.generate(**batch, lam=lam, max_new_tokens=12, do_sample=False)
    assert torch.equal(drawn.input_ids, generated)
    ends = drawn.attention_mask[:, -drawn.completion_length :].sum(-1)
    assert len(set(ends.tolist())) > 2


@pytest.mark.parametrize("kind", ["two models", "adapter", "one model", "encoder-decoder"])
def test_a_prompt_that_occurs_several_times_is_read_once(kind, tokenizer):
    """Twelve rows of three prompts, each with its own lam, greedily.

    They give what each gives in a batch of its own, and the first call reads three rows.
    """
    encodes = kind == "encoder-decoder"
    base = tiny("t5" if encodes else "llama", 1)
    model = base
    if kind == "adapter":
        model = RealignedModel(None, tiny_adapter(base, 2))
    elif kind != "one model":
        model = RealignedModel(base, tiny("t5" if encodes else "llama", 2))
    lams = None if kind == "one model" else torch.linspace(-0.5, 3, 12).tolist()
    prompts = ["w3 w4 w5", "w6", "w2 w9"] * 4
    options = dict(max_new_tokens=8, greedy=True)
    alone = []
    for row, prompt in enumerate(prompts):
        lam = None if lams is None else lams[row]
        drawn = sample_completions(model, tokenizer, [prompt], lam=lam, **options)
        alone += drawn.token_ids()

    read = []

    def count_rows(module, inputs, output):
        read.append(len(output[0] if isinstance(output, dict) else output))

    reader = base.get_encoder() if encodes else base.get_input_embeddings()
    reader.register_forward_hook(count_rows)
    together = sample_completions(model, tokenizer, prompts, lam=lams, **options)
    assert together.token_ids() == alone
    assert read[0] == (6 if kind == "adapter" else 3)
    starts = [1 if encodes else len(prompt.split()) for prompt in prompts]
    lengths = torch.tensor(starts) + torch.tensor(together.lengths())
    assert together.attention_mask.sum(-1).tolist() == lengths.tolist()


def test_scores_taken_while_decoding_equal_scores_taken_afterwards(pair, tokenizer):
    model = RealignedModel(*pair[:2])
    assert_same_scores(model, tokenizer, torch.linspace(-0.5, 3, 40))


def test_scores_under_several_models_are_taken_while_decoding(tokenizer):
    models = [tiny("llama", seed) for seed in (1, 2, 3)]
    model = RealignedModel(models[0], models[1:])
    assert_same_scores(model, tokenizer, torch.linspace(-0.5, 1.5, 80).view(40, 2))


def assert_same_scores(model, tokenizer, lam):
    """Score forty completions while they are decoded, and afterwards."""
    torch.manual_seed(0)
    prompts = ["w3 w4 w5", "w6"] * 20
    completions, scores = sample_and_score(model, tokenizer, prompts, 8, lam)
    afterwards = score_completions(model, completions, lam)
    for name in ("reference", "aligned", "sampler", "log_weight"):
        now, later = getattr(scores, name), getattr(afterwards, name)
        torch.testing.assert_close(now, later, atol=1e-4, rtol=1e-4)


class Halves:
    """A policy whose probabilities are the mean of those of two models."""

    def __init__(self, model):
        self.model = model
        self.config = model.config
        self.device = model.device
        self.generation_config = model.generation_config

    def __call__(self, **inputs):
        output = self.model(**inputs, output_parts=True)
        parts = output.reference_logits.softmax(-1), output.aligned_logits.softmax(-1)
        output.logits = ((parts[0] + parts[1]) / 2).log()
        return output


def test_a_policy_of_two_models_is_scored_under_itself_and_both(pair, tokenizer):
    model = RealignedModel(*pair[:2])
    torch.manual_seed(0)
    prompts = ["w3 w4 w5", "w6"] * 4
    completions, scores = sample_and_score_policy(Halves(model), tokenizer, prompts, 6)
    afterwards = score_completions(model, completions, 1.0)
    torch.testing.assert_close(scores.reference, afterwards.reference, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores.aligned, afterwards.aligned, atol=1e-4, rtol=1e-4)
    for row, tokens in enumerate(completions.input_ids.tolist()):
        end = int(completions.attention_mask[row].nonzero().max()) + 1
        length = completions.lengths()[row]
        start = int(completions.attention_mask[row].argmax())
        with torch.no_grad():
            ids = torch.tensor([tokens[start:end]])
            output = Halves(model)(input_ids=ids)
        logs = output.logits[0, -length - 1 : -1].double().log_softmax(-1)
        expected = logs.gather(-1, ids[0, -length:, None]).sum().item()
        assert scores.policy[row].item() == pytest.approx(expected, abs=1e-4)


def test_sampled_frequencies_follow_the_model_also_after_rows_have_left(tokenizer):
    """A chi-square test at level 1e-4 of the second token, where the first did not end the row."""
    model = tiny("llama", 7)
    draws = 6000
    torch.manual_seed(0)
    drawn = sample_completions(model, tokenizer, ["w3 w4"] * draws, 2)
    pairs = [row for row in drawn.input_ids[:, 2:].tolist() if row[0] != EOS]
    firsts = [row[0] for row in pairs]
    first = max(set(firsts), key=firsts.count)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[3, 4, first]])).logits[0, -1]
    expected = logits.double().softmax(-1)
    seconds = torch.tensor([row[1] for row in pairs if row[0] == first])
    assert len(seconds) < draws
    common = expected * len(seconds) >= 5
    observed = torch.bincount(seconds, minlength=len(expected)).double()

    def rare_together(values):
        return [*values[common].tolist(), values[~common].sum().item()]

    test = stats.chisquare(rare_together(observed), rare_together(expected * len(seconds)))
    assert test.pvalue > 1e-4


def test_prompts_may_be_texts_or_token_ids(tokenizer):
    model = tiny("llama", 5)
    texts = ["w3 w4 w5", "w6", "w3 w4 w5"] * 8
    torch.manual_seed(3)
    from_texts = sample_completions(model, tokenizer, texts, 12)
    torch.manual_seed(3)
    from_ids = sample_completions(model, tokenizer, [[3, 4, 5], [6], [3, 4, 5]] * 8, 12)
    assert torch.equal(from_ids.input_ids, from_texts.input_ids)
    assert torch.equal(from_ids.attention_mask, from_texts.attention_mask)


def test_what_cannot_be_decoded_is_refused_before_anything_is(pair, tokenizer):
    model = RealignedModel(*pair[:2])
    with pytest.raises(ValueError, match=r"prompt 1 of 2 has no tokens.*''"):
        sample_completions(model, tokenizer, ["w3", ""], 4)
    with pytest.raises(ValueError, match=r"prompt 1 of 2 has no tokens"):
        sample_completions(model, tokenizer, [[3], []], 4)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        sample_completions(model, tokenizer, ["w3"], 0)
    with pytest.raises(ValueError, match="a schedule of lam is for generate and forward"):
        sample_and_score(model, tokenizer, ["w3"], 4, lambda positions: positions / 4)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="padding token"):
        sample_completions(model, tokenizer, ["w3"], 4)


def test_special_tokens_of_a_chat_are_written_once(tokenizer):
    tokenizer.chat_template = "{% for turn in messages %}w2 {{ turn.content }} {% endfor %}w9"
    chat = ChatTokenizer(tokenizer, system="w7")
    messages = [{"role": "system", "content": "w7"}, {"role": "user", "content": "w3 w4"}]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True).input_ids
    torch.manual_seed(0)
    drawn = sample_completions(tiny("llama", 1), chat, ["w3 w4"], 2)
    assert drawn.input_ids[0, :-2].tolist() == expected == [2, 7, 2, 3, 4, 9]
    with pytest.raises(ValueError, match="no chat template"):
        ChatTokenizer(word_tokenizer())
