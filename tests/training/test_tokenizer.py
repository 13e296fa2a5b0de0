"""The tokenizer writes any text back as it was, and survives saving."""

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from training.tokenizer import train_tokenizer

TEXTS = ["Nora is a baker.\nSummary:", " She has a cat."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(
        Dataset.from_dict({"prompt": TEXTS[:1] * 20, "completion": TEXTS[1:] * 20}), vocab_size=300
    )


@pytest.mark.parametrize("text", [*TEXTS, "Ünseen  spaces\tand 日本語 .", ""])
def test_any_text_comes_back_unchanged_also_after_saving(tokenizer, text, tmp_path):
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert (loaded.padding_side, loaded.eos_token, loaded.pad_token) == ("left", "<eos>", "<pad>")


def test_a_prompt_and_its_completion_tokenize_apart_as_together(tokenizer):
    together = tokenizer("".join(TEXTS)).input_ids
    assert together == tokenizer(TEXTS[0]).input_ids + tokenizer(TEXTS[1]).input_ids


def test_the_vocabulary_is_no_larger_than_asked(tokenizer):
    assert len(tokenizer) <= 300
