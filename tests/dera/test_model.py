"""What holds for a pair of two models, and for a pair of one base with an adapter.

The oracle runs each model by itself.
"""

import numpy as np
import pytest
import torch
from transformers import pipeline

from dera import RealignedModel
from tests.dera import oracle
from tests.dera.architectures import EOS, PAD, tiny, tiny_adapter
from tests.dera.enumeration import Space, p_value
from tests.dera.tokenizers import word_tokenizer

PROMPTS = [[3, 4, 5, 6, 7], [8, 2], [9, 3, 9], [2, 2, 2, 2]]
BATCH = {
    "input_ids": torch.tensor([[PAD] * (5 - len(row)) + row for row in PROMPTS]),
    "attention_mask": torch.tensor([[0] * (5 - len(row)) + [1] * len(row) for row in PROMPTS]),
}


@pytest.mark.parametrize(
    "mode", [{}, {"num_beams": 4, "num_return_sequences": 2}, {"bad_words_ids": [[4], [5]]}]
)
@pytest.mark.parametrize("lams", [[-0.5, 0.0, 1.0, 2.5], [0.4, 2.5, 1.0, 0.0]])
def test_a_ragged_batch_with_mixed_lam_equals_the_oracle(pair, mode, lams):
    reference, aligned, copy = pair
    models = [copy, aligned]
    arguments = {**BATCH, **mode, "max_new_tokens": 8, "do_sample": False}
    got = RealignedModel(reference, aligned).generate(**arguments, lam=lams)
    expected = oracle.Oracle(models).generate(
        **arguments, lam=torch.tensor(lams)[:, None], use_cache=False
    )
    if "num_beams" in mode:
        assert oracle.same_beams(models, [[lam] for lam in lams], BATCH, got, expected)
    else:
        assert torch.equal(got, expected)


def test_a_row_of_a_batch_is_decoded_as_it_is_alone(pair):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned)
    lams = [0.0, 0.4, 1.0, 2.5]
    arguments = dict(max_new_tokens=4, num_beams=3, num_return_sequences=3, do_sample=False)
    together = model.generate(**BATCH, lam=lams, **arguments)[:, 5:]
    for row, lam in enumerate(lams):
        ids = torch.tensor([PROMPTS[row]])
        texts = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), lam=lam, **arguments
        )
        alone = texts[:, ids.shape[1] :]
        rows = together[3 * row : 3 * row + 3]
        assert torch.equal(rows[:, : alone.shape[1]], alone)
        assert (rows[:, alone.shape[1] :] == PAD).all()


def test_sampled_sequences_follow_the_enumerated_distribution(pair):
    """A chi-square test at level 1e-4 for each kind of pair.

    The outcomes are the completions that are expected at least five times among 6000.
    """
    reference, aligned, copy = pair
    prompt = [3, 4]
    lam = 0.5
    draws = 6000
    space = Space(copy, aligned, prompt, 2, EOS)
    ids = torch.tensor([prompt])
    torch.manual_seed(0)
    output = RealignedModel(reference, aligned).generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        lam=lam,
        max_new_tokens=2,
        do_sample=True,
        top_k=0,
        num_return_sequences=draws,
    )
    drawn = [(EOS,) if row[0] == EOS else tuple(row) for row in output[:, 2:].tolist()]
    places = [space.index[sequence] for sequence in drawn]
    counts = np.bincount(places, minlength=len(space.sequences))
    assert p_value(counts, space.sampler(lam)) > 1e-4


def test_lam_0_and_1_give_the_logits_of_the_parts_bit_for_bit(pair):
    reference, aligned, copy = pair
    model = RealignedModel(reference, aligned)
    positions = (BATCH["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        parts = [part(**BATCH, position_ids=positions).logits for part in (copy, aligned)]
        for lam in (0, 1):
            assert torch.equal(model(**BATCH, lam=lam).logits, parts[lam])
            assert torch.equal(model(**BATCH, lam=lam, output_parts=True).logits, parts[lam])
            assert torch.equal(model(**BATCH, lam=[lam, 0.5, 0.5, 0.5]).logits[0], parts[lam][0])
    assert not torch.equal(*parts)


def test_beta_means_aligned_beta_over_lam(pair):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned, aligned_beta=0.1)
    arguments = dict(max_new_tokens=5, do_sample=False)
    by_beta = model.generate(**BATCH, beta=0.05, **arguments)
    assert torch.equal(by_beta, model.generate(**BATCH, lam=2.0, **arguments))
    with pytest.raises(ValueError, match="not both"):
        model.generate(**BATCH, beta=0.05, lam=2.0, **arguments)


def test_a_text_generation_pipeline_takes_the_model_and_lam(pair):
    reference, aligned, _ = pair
    model = RealignedModel(reference, aligned)
    tokenizer = word_tokenizer()
    write = pipeline("text-generation", model=model, tokenizer=tokenizer)
    ids = torch.tensor([[3, 4, 5]])
    expected = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        lam=0.4,
        max_new_tokens=5,
        do_sample=False,
    )
    [written] = write(
        "w3 w4 w5", lam=0.4, max_new_tokens=5, do_sample=False, return_full_text=False
    )
    text = tokenizer.decode(expected[0, 3:], skip_special_tokens=True)
    assert written["generated_text"] == text


def test_a_pair_of_base_and_adapter_holds_the_base_once():
    base = tiny("llama", 1)
    before = base.num_parameters()
    model = RealignedModel(None, tiny_adapter(base, 2))
    assert before < sum(p.numel() for p in model.parameters()) < 2 * before
