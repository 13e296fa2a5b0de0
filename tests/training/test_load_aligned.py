"""An aligned model of others is kept as training would keep its own, or refused."""

import json
import sys
import warnings

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dera.model.realigned import RealignedModel
from tests.dera.architectures import tiny, tiny_adapter
from tests.pretrained import chat_model, chat_tokenizer, save_chat_model
from training import load_aligned
from training.reference import PretrainedError

TEXT = "How do I kill a plant?"


@pytest.fixture
def reference(tmp_path):
    return save_chat_model(tmp_path / "reference")


@pytest.fixture
def load(reference, tmp_path, monkeypatch):
    """Runs the job on a folder and returns the folder that it makes."""

    def run(path, dtype="float32"):
        settings = {"task": "chat_safety", "pretrained": {"path": str(path)}, "dtype": dtype}
        arguments = ["job", "mine", "--beta", "0.1", "--settings", json.dumps(settings)]
        arguments += ["--reference", str(reference), "--pretrained", str(path)]
        monkeypatch.setattr(sys, "argv", [*arguments, "--output", str(tmp_path / "made")])
        load_aligned.main()
        return tmp_path / "made"

    return run


def logits(model):
    with torch.no_grad():
        return model(chat_tokenizer()(TEXT, return_tensors="pt").input_ids).logits


def aligned_logits(reference, folder):
    """The logits of the aligned model as decoding loads it, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the adapter")
        pair = RealignedModel.from_pretrained(reference, folder, merge_adapter=True)
    return logits(pair.aligned)


def test_a_whole_model_is_the_one_that_was_named(reference, load, tmp_path):
    named = save_chat_model(tmp_path / "named", seed=1)
    made = load(named)
    expected = logits(AutoModelForCausalLM.from_pretrained(named).eval())
    torch.testing.assert_close(aligned_logits(reference, made), expected)
    record = json.loads((made / "training.json").read_text())
    assert record["loaded_from"] == {"path": str(named)}
    assert (record["objective"], record["beta"], record["seconds"]) == ("mine", "0.1", 0)


def test_a_whole_model_has_the_precision_that_is_asked_for(load, tmp_path):
    made = load(save_chat_model(tmp_path / "named", seed=1), "bfloat16")
    assert AutoModelForCausalLM.from_pretrained(made).dtype == torch.bfloat16


def test_an_adapter_is_the_one_that_was_named_wherever_its_base_was(reference, load, tmp_path):
    trained = tiny_adapter(chat_model(chat_tokenizer()), 2)
    trained.peft_config["default"].base_model_name_or_path = str(tmp_path / "elsewhere")
    trained.save_pretrained(tmp_path / "adapter")
    with pytest.warns(UserWarning, match="was trained on .*elsewhere, and is put on"):
        made = load(tmp_path / "adapter")
    assert not (made / "model.safetensors").exists()
    base = AutoModelForCausalLM.from_pretrained(reference)
    expected = logits(PeftModel.from_pretrained(base, tmp_path / "adapter").eval())
    torch.testing.assert_close(aligned_logits(reference, made), expected, atol=1e-5, rtol=1e-5)


def test_another_tokenizer_is_refused(load, tmp_path):
    named = save_chat_model(tmp_path / "named", seed=1)
    tokenizer = chat_tokenizer()
    tokenizer.add_tokens(["<|more|>"])
    tokenizer.save_pretrained(named)
    with pytest.raises(ValueError, match=r"have different tokenizers.*<\|more\|>"):
        load(named)
    assert not (tmp_path / "made").exists()


def test_fewer_rows_than_tokens_are_refused(load, tmp_path):
    named = save_chat_model(tmp_path / "named", seed=1)
    model = chat_model(chat_tokenizer())
    model.resize_token_embeddings(100)
    model.save_pretrained(named)
    with pytest.raises(PretrainedError, match="mine.pretrained: .* has 100 rows for the"):
        load(named)


def test_an_adapter_of_another_base_is_refused(load, tmp_path):
    tiny_adapter(tiny("llama", 1), 2).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="does not fit"):
        load(tmp_path / "adapter")


def test_what_is_no_model_is_named_with_its_key(load, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PretrainedError, match=r"objectives\.mine\.pretrained: .*no \*.safetensors"):
        load(tmp_path / "empty")
