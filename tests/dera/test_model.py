"""The realigned model against a slow oracle: each row alone, no padding, no cache, two separate runs mixed in float64."""

import itertools

import pytest
import torch
from scipy import stats
from tokenizers import Tokenizer, models
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast

from dera import RealignedModel
from tests.dera.conftest import EOS, PAD, left_padded, tiny_adapter, tiny_llama

LAMS = [-0.5, 0.0, 0.4, 1.0, 2.5]


def probabilities(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)


def oracle(reference, aligned, ids, lam):
    """Next-token distribution of the mixture after `ids`."""
    mixed = probabilities(reference, ids) ** (1 - lam) * probabilities(aligned, ids) ** lam
    return mixed / mixed.sum()


def oracle_greedy(reference, aligned, ids, lam, steps):
    ids = list(ids)
    for _ in range(steps):
        ids.append(int(oracle(reference, aligned, ids, lam).argmax()))
        if ids[-1] == EOS:
            break
    return ids


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_do_not_depend_on_padding_or_on_the_rest_of_the_batch(pair, prompts, side):
    reference, aligned, copy = pair
    model = RealignedModel(reference, aligned)
    batch = left_padded(prompts)
    if side == "right":
        for row, ids in enumerate(prompts):
            batch["input_ids"][row] = torch.tensor(ids + [PAD] * (5 - len(ids)))
            batch["attention_mask"][row] = torch.tensor([1] * len(ids) + [0] * (5 - len(ids)))
    lams = torch.tensor([0.0, 0.4, 1.0, 2.5])
    with torch.no_grad():
        logits = model(**batch, lam=lams).logits
    for row, (ids, lam) in enumerate(zip(prompts, lams.tolist(), strict=True)):
        last = -1 if side == "left" else len(ids) - 1
        expected = oracle(copy, aligned, ids, lam)
        torch.testing.assert_close(logits[row, last].double().softmax(-1), expected, atol=1e-5, rtol=1e-4)


def test_greedy_decoding_of_a_ragged_batch_with_mixed_lam_equals_the_oracle(pair, prompts):
    reference, aligned, copy = pair
    model = RealignedModel(reference, aligned)
    for lams in itertools.product([-0.5, 0.4], [0.0, 2.5], [1.0], [0.7]):
        output = model.generate(**left_padded(prompts), lam=list(lams), max_new_tokens=8, do_sample=False)
        for row, (ids, lam) in enumerate(zip(prompts, lams, strict=True)):
            expected = oracle_greedy(copy, aligned, ids, lam, 8)
            got = output[row, 5 - len(ids) :].tolist()
            assert got[: len(expected)] == expected
            assert set(got[len(expected) :]) <= {PAD}


@pytest.mark.parametrize("lam", LAMS)
def test_beams_reorder_both_caches(pair, prompts, lam):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned)
    arguments = dict(lam=lam, max_new_tokens=7, num_beams=4, num_return_sequences=2, do_sample=False)
    cached = model.generate(**left_padded(prompts), use_cache=True, **arguments)
    recomputed = model.generate(**left_padded(prompts), use_cache=False, **arguments)
    assert torch.equal(cached, recomputed)


def test_each_row_keeps_its_lam_when_sequences_are_repeated(pair, prompts):
    reference, aligned, copy = pair
    model = RealignedModel(reference, aligned)
    lams = [0.0, 0.4, 1.0, 2.5]
    output = model.generate(**left_padded(prompts), lam=lams, max_new_tokens=4, num_beams=3, num_return_sequences=3)
    for row, lam in enumerate(lams):
        alone = model.generate(**left_padded([prompts[row]]), lam=lam, max_new_tokens=4, num_beams=3, num_return_sequences=3)
        for copy_number in range(3):
            got = output[3 * row + copy_number, 5 - len(prompts[row]) :].tolist()
            expected = alone[copy_number].tolist()
            length = min(len(got), len(expected))
            assert got[:length] == expected[:length]


def test_sampled_sequences_follow_the_enumerated_distribution(pair):
    """Chi-square test at level 1e-4 (for each kind of pair), on all pairs of next tokens that are expected five times."""
    reference, aligned, copy = pair
    model, ids, lam, draws = RealignedModel(reference, aligned), [3, 4], 1.7, 6000
    expected = {}
    for first, p in enumerate(oracle(copy, aligned, ids, lam).tolist()):
        if first == EOS:
            expected[EOS, PAD] = p
            continue
        for second, q in enumerate(oracle(copy, aligned, [*ids, first], lam).tolist()):
            expected[first, second] = p * q
    torch.manual_seed(0)
    output = model.generate(**left_padded([ids]), lam=lam, max_new_tokens=2, do_sample=True, top_k=0, num_return_sequences=draws)
    counts = dict.fromkeys(expected, 0)
    for row in output[:, 2:].tolist():
        counts[tuple(row)] += 1
    common = [key for key, p in expected.items() if draws * p >= 5]
    observed = [counts[key] for key in common]
    wanted = [draws * expected[key] for key in common]
    rest = 1 - sum(expected[key] for key in common)
    assert len(common) > 10
    result = stats.chisquare([*observed, draws - sum(observed)], [*wanted, draws * rest])
    assert result.pvalue > 1e-4


def test_the_ends_are_the_parts_bit_for_bit(pair, prompts):
    reference, aligned, copy = pair
    model, batch = RealignedModel(reference, aligned), left_padded(prompts)
    batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        assert torch.equal(model(**batch, lam=0).logits, copy(**batch).logits)
        assert torch.equal(model(**batch, lam=1).logits, aligned(**batch).logits)
        assert not torch.equal(copy(**batch).logits, aligned(**batch).logits)


def test_nothing_survives_a_call(pair, prompts):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned)
    arguments = dict(lam=0.5, max_new_tokens=6, do_sample=False)
    first = model.generate(**left_padded(prompts), **arguments)
    model.generate(**left_padded([[5, 5, 5, 5, 5, 5]]), lam=2.0, max_new_tokens=3)
    assert torch.equal(first, model.generate(**left_padded(prompts), **arguments))


def test_bad_words_stay_excluded_at_any_lam(pair, prompts):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned)
    for lam in LAMS:
        torch.manual_seed(0)
        output = model.generate(
            **left_padded(prompts), lam=lam, max_new_tokens=6, do_sample=True, bad_words_ids=[[4], [5], [6]], output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        assert not set(output.sequences[:, 5:].flatten().tolist()) & {4, 5, 6}
        assert not any(score.isnan().any() or (score == torch.inf).any() for score in output.scores)


def test_loss_is_the_mean_negative_log_likelihood(pair):
    reference, aligned, copy = pair
    model, ids, lam = RealignedModel(reference, aligned), [3, 4, 5, 6], 0.6
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids]), lam=lam).loss
    expected = -sum(oracle(copy, aligned, ids[:t], lam)[ids[t]].log() for t in range(1, 4)) / 3
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_beta_means_aligned_beta_over_lam(pair, prompts):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned, aligned_beta=0.1)
    arguments = dict(max_new_tokens=5, do_sample=False)
    by_beta = model.generate(**left_padded(prompts), beta=0.05, **arguments)
    assert torch.equal(by_beta, model.generate(**left_padded(prompts), lam=2.0, **arguments))
    with pytest.raises(ValueError, match="not both"):
        model.generate(**left_padded(prompts), beta=0.05, lam=2.0, **arguments)
    with pytest.raises(ValueError, match="aligned_beta="):
        RealignedModel(reference, aligned).generate(**left_padded(prompts), beta=0.05, **arguments)


def test_bad_calls_are_refused(pair, prompts):
    reference, aligned, copy = pair
    model, batch = RealignedModel(reference, aligned), left_padded(prompts)
    with pytest.raises(ValueError, match="4 rows"):
        model.generate(**batch, lam=[0.5, 1.0], max_new_tokens=2)
    with pytest.raises(ValueError, match="finite"):
        model.generate(**batch, lam=float("nan"), max_new_tokens=2)
    filled = DynamicCache()
    copy(**batch, past_key_values=filled)
    with pytest.raises(ValueError, match="filled by another model"):
        model(batch["input_ids"][:, -1:], past_key_values=filled)
    with pytest.raises(ValueError, match="PEFT"):
        RealignedModel(None, copy)


def test_an_adapter_pair_holds_the_base_once():
    base = tiny_llama(1)
    before = base.num_parameters()
    model = RealignedModel(None, tiny_adapter(base, 2))
    assert before < sum(p.numel() for p in model.parameters()) < 2 * before


def save_tokenizer(folder, words):
    vocabulary = {"<eos>": EOS, "<pad>": PAD, **{word: i + 2 for i, word in enumerate(words)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder)


def test_pairs_load_from_folders_and_padded_vocabularies_match(tmp_path, prompts):
    words = [f"w{i}" for i in range(11)]
    reference, aligned = tiny_llama(1), tiny_llama(2, vocabulary=16)  # the fine-tune has three unused rows
    for name, model in (("reference", reference), ("aligned", aligned)):
        model.save_pretrained(tmp_path / name)
        save_tokenizer(tmp_path / name, words)
    model = RealignedModel.from_pretrained(tmp_path / "reference", tmp_path / "aligned", aligned_beta=0.1)
    assert model.generate(**left_padded(prompts), beta=0.2, max_new_tokens=3).shape == (4, 8)
    save_tokenizer(tmp_path / "aligned", words[::-1])
    with pytest.raises(ValueError, match="different tokenizers"):
        RealignedModel.from_pretrained(tmp_path / "reference", tmp_path / "aligned")
    with pytest.raises(ValueError, match="trust_remote_code"):
        RealignedModel.from_pretrained(tmp_path / "reference", tmp_path / "aligned", trust_remote_code=True)


def test_an_adapter_loads_on_its_reference(tmp_path, prompts):
    base = tiny_llama(1)
    base.save_pretrained(tmp_path / "reference")
    save_tokenizer(tmp_path / "reference", [f"w{i}" for i in range(11)])
    adapted = tiny_adapter(base, 2)
    adapted.save_pretrained(tmp_path / "adapter")
    model, batch = RealignedModel.from_pretrained(tmp_path / "reference", tmp_path / "adapter"), left_padded(prompts)
    assert model.reference is model.aligned  # one copy of the base, its adapter off or on
    with torch.no_grad():
        torch.testing.assert_close(model(**batch, lam=1).logits[:, -1], adapted(**batch).logits[:, -1], atol=1e-5, rtol=1e-5)
    merged = RealignedModel.from_pretrained(tmp_path / "reference", tmp_path / "adapter", merge_adapter=True)
    assert isinstance(merged.reference, LlamaForCausalLM)
    assert isinstance(merged.aligned, LlamaForCausalLM)
    for lam in LAMS:
        with torch.no_grad():
            torch.testing.assert_close(merged(**batch, lam=lam).logits, model(**batch, lam=lam).logits, atol=1e-4, rtol=1e-4)
