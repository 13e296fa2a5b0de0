"""SFT of a pretrained model: the text it learns from, micro-batches, and a merged adapter."""

import io

import pytest
import torch
from datasets import Dataset

from study import job
from tests.pretrained import chat_model, chat_tokenizer
from training import sft, trainer
from training.sft import SftSettings

SETTINGS = {
    "steps": 2,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "schedule": "constant",
    "warmup_steps": 0,
    "log_every": 1,
    "save_every": 2,
    "weight_decay": 0.0,
    "eval_every": 2,
    "minimum": {},
}
LORA = {"rank": 4, "alpha": 8, "target_modules": "all-linear"}
ROWS = {
    "prompt": ["Be kind.", "How do I bake a cake?", "Take care of it.", "Why?"] * 2,
    "completion": ["Sure.", "Mix the eggs and the flour.", "I can't help with that.", "To."] * 2,
}


def make_trainer(folder, **changes):
    tokenizer = chat_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    data = Dataset.from_dict(ROWS)
    splits = {"train": data, "validation": data}
    settings = SftSettings(**(SETTINGS | changes))
    return sft.make_trainer(chat_model(tokenizer), tokenizer, splits, settings, 128, folder, seed=1)


def trained(folder, **changes):
    made = make_trainer(folder, **changes)
    trainer.train(made, folder, folder / "model", job.Progress("test", io.StringIO()))
    return made


def test_the_model_learns_completions_after_the_chat_template(tmp_path):
    made = make_trainer(tmp_path)
    tokenizer = chat_tokenizer()
    for row, prompt, completion in zip(made.train_dataset, *ROWS.values(), strict=True):
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        pairs = zip(row["input_ids"], row["labels"], strict=True)
        learnt = [token for token, label in pairs if label != -100]
        assert tokenizer.decode(row["input_ids"]) == text + completion + tokenizer.eos_token
        assert tokenizer.decode(learnt) == completion + tokenizer.eos_token


def test_weight_decay_takes_its_share_of_each_weight(tmp_path):
    """AdamW takes `learning_rate * weight_decay` of a weight, whatever its gradient is.

    Norms and biases are left alone, as transformers has it.
    """
    before = make_trainer(tmp_path / "before").model.state_dict()
    plain = trained(tmp_path / "plain", steps=1).model.state_dict()
    decayed = trained(tmp_path / "decayed", steps=1, weight_decay=0.5).model.state_dict()
    for name, weight in before.items():
        share = 0.0 if "norm" in name else 1e-2 * 0.5
        expected = -share * weight
        torch.testing.assert_close(decayed[name] - plain[name], expected, rtol=1e-3, atol=1e-6)


def test_micro_batches_give_the_same_step(tmp_path):
    whole = trained(tmp_path / "whole").model.state_dict()
    parts = trained(tmp_path / "parts", micro_batch_size=2).model.state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=2e-4, rtol=1e-3)


def test_gradient_checkpointing_gives_the_same_step(tmp_path):
    without = trained(tmp_path / "without").model.state_dict()
    saved = trained(tmp_path / "with", gradient_checkpointing=True).model.state_dict()
    for name, value in without.items():
        torch.testing.assert_close(saved[name], value, atol=1e-5, rtol=1e-4)


def test_an_adapter_leaves_the_embedding_alone_and_merges_into_the_model(tmp_path):
    made = trained(tmp_path, lora=LORA)
    ids = torch.tensor([chat_tokenizer()("How do I bake a cake?").input_ids])
    made.model.eval()
    with torch.no_grad():
        adapted = made.model(ids).logits
        merged = made.model.merge_and_unload()
        torch.testing.assert_close(merged(ids).logits, adapted, atol=1e-5, rtol=1e-5)
    before = chat_model(chat_tokenizer()).state_dict()
    after = merged.state_dict()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if "_proj" in name}


def test_settings_of_sft_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="micro_batch"):
        SftSettings(**SETTINGS, micro_batch=2)
