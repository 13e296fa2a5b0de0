"""The tokenizer gives any text back unchanged, also after it was saved."""

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from training.tokenizer import train_tokenizer

TEXTS = ["Nora is a baker.\nSummary:", " She has a cat."]


@pytest.fixture(scope="module")
def tokenizer():
    prompt, completion = TEXTS
    rows = {"prompt": [prompt] * 20, "completion": [completion] * 20}
    return train_tokenizer(Dataset.from_dict(rows), vocab_size=300)


@pytest.mark.parametrize("text", [*TEXTS, "Ünseen  spaces\tand 日本語 .", ""])
def test_any_text_comes_back_unchanged_also_after_saving(tokenizer, text, tmp_path):
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert (loaded.padding_side, loaded.eos_token, loaded.pad_token) == ("left", "<eos>", "<pad>")


def test_a_prompt_and_its_completion_have_the_same_tokens_apart_and_together(tokenizer):
    prompt, completion = TEXTS
    together = tokenizer(prompt + completion).input_ids
    assert together == tokenizer(prompt).input_ids + tokenizer(completion).input_ids


def test_the_vocabulary_is_at_most_as_large_as_asked_for(tokenizer):
    assert len(tokenizer) <= 300
