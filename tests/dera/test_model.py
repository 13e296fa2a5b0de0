"""What holds for a pair however it is made, of two models or of one base with an adapter; the oracle runs each model by itself."""

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
    arguments = {**BATCH, **mode, "max_new_tokens": 8, "do_sample": False}
    got = RealignedModel(reference, aligned).generate(**arguments, lam=lams)
    expected = oracle.Oracle([copy, aligned]).generate(
        **arguments, lam=torch.tensor(lams)[:, None], use_cache=False
    )
    assert torch.equal(got, expected) or (
        "num_beams" in mode
        and oracle.same_beams([copy, aligned], [[x] for x in lams], BATCH, got, expected)
    )


def test_each_row_is_what_it_is_alone(pair):
    reference, aligned, _ = pair
    model, lams = RealignedModel(reference, aligned), [0.0, 0.4, 1.0, 2.5]
    arguments = dict(max_new_tokens=4, num_beams=3, num_return_sequences=3, do_sample=False)
    together = model.generate(**BATCH, lam=lams, **arguments)[:, 5:]
    for row, lam in enumerate(lams):
        ids = torch.tensor([PROMPTS[row]])
        alone = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), lam=lam, **arguments
        )[:, ids.shape[1] :]
        rows = together[3 * row : 3 * row + 3]
        assert torch.equal(rows[:, : alone.shape[1]], alone)
        assert (rows[:, alone.shape[1] :] == PAD).all()


def test_sampled_sequences_follow_the_enumerated_distribution(pair):
    """Chi-square test at level 1e-4 (for each kind of pair), over all completions expected five times of 6000."""
    reference, aligned, copy = pair
    prompt, lam, draws = [3, 4], 0.5, 6000
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
    counts = np.bincount(
        [space.index[sequence] for sequence in drawn], minlength=len(space.sequences)
    )
    assert p_value(counts, space.sampler(lam)) > 1e-4


def test_the_ends_are_the_parts_bit_for_bit(pair):
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


def test_a_pipeline_takes_the_model(pair):
    reference, aligned, _ = pair
    model, tokenizer = RealignedModel(reference, aligned), word_tokenizer()
    write = pipeline("text-generation", model=model, tokenizer=tokenizer)
    ids = torch.tensor([[3, 4, 5]])
    expected = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        lam=0.4,
        max_new_tokens=5,
        do_sample=False,
    )
    written = write("w3 w4 w5", lam=0.4, max_new_tokens=5, do_sample=False, return_full_text=False)[
        0
    ]["generated_text"]
    assert written == tokenizer.decode(expected[0, 3:], skip_special_tokens=True)


def test_an_adapter_pair_holds_the_base_once():
    base = tiny("llama", 1)
    before = base.num_parameters()
    model = RealignedModel(None, tiny_adapter(base, 2))
    assert before < sum(p.numel() for p in model.parameters()) < 2 * before
