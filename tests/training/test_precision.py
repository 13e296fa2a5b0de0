"""The config's `model.dtype`: what is kept in half precision, and what is computed in float32."""

import argparse
import json
import sys

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from eval import curve, decode, read
from study import job
from tests.dera.architectures import tiny_adapter
from tests.pretrained import chat_model, chat_tokenizer, save_chat_model
from training import align, load_pretrained, sft, trainer

MODEL = {
    "pretrained": {"path": "model"},
    "chat": True,
    "dtype": "bfloat16",
    "max_positions": 200,
    "max_new_tokens": 4,
}
TASK = {"name": "chat_safety", "settings": {}}
ROWS = {"prompt": ["Be kind.", "Why?"] * 4, "completion": ["Sure.", "Take care of it."] * 4}
SFT = {
    "steps": 1,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_steps": 0,
    "log_every": 1,
    "save_every": 1,
    "eval_every": 1,
    "weight_decay": 0.0,
    "minimum": {},
}


@pytest.fixture
def run(monkeypatch):
    """Runs a job with these settings and options."""

    def run_job(module, settings, **options):
        arguments = ["job", "--settings", json.dumps(settings)]
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        monkeypatch.setattr(sys, "argv", arguments)
        module.main()

    return run_job


@pytest.fixture
def kept(run, tmp_path):
    """A pretrained model as the study keeps it, in bfloat16."""
    path = save_chat_model(tmp_path / "named")
    run(load_pretrained, MODEL, pretrained=path, output=tmp_path / "pretrained")
    return tmp_path / "pretrained"


def precisions(folder) -> set[torch.dtype]:
    """The precisions of the weights in a folder, read from its file."""
    return {weight.dtype for weight in load_file(folder / "model.safetensors").values()}


def test_the_model_is_kept_rounded_to_the_precision_of_the_config(kept):
    named = chat_model(chat_tokenizer()).state_dict()
    stored = load_file(kept / "model.safetensors")
    assert precisions(kept) == {torch.bfloat16}
    assert all(weight.equal(named[name].bfloat16()) for name, weight in stored.items())


def test_a_model_that_samples_runs_as_it_is_kept_and_one_that_is_trained_in_float32(kept):
    assert trainer.load_model(kept)[0].dtype == torch.bfloat16
    assert trainer.load_model(kept, "float32")[0].dtype == torch.float32


@pytest.mark.parametrize("section", ["none", SFT], ids=["as it is", "trained"])
def test_the_reference_is_kept_in_the_same_precision(run, kept, tmp_path, monkeypatch, section):
    data = tmp_path / "rows.parquet"
    Dataset.from_dict(ROWS).to_parquet(data)
    trained = []
    train = sft.shared.train

    def recording(made, *rest):
        trained.append(made.model.dtype)
        return train(made, *rest)

    monkeypatch.setattr(sft.shared, "train", recording)
    options = {"train": data, "validation": data, "checkpoints": tmp_path / "checkpoints"}
    settings = {"task": TASK, "model": MODEL, "sft": section}
    run(sft, settings, pretrained=kept, output=tmp_path / "reference", **options)
    assert precisions(tmp_path / "reference") == {torch.bfloat16}
    assert trained == ([] if section == "none" else [torch.float32])


def test_policies_are_decoded_read_and_reweighted_in_the_precision_of_the_reference(kept, tmp_path):
    adapter = tmp_path / "adapter"
    tiny_adapter(chat_model(chat_tokenizer()), 2).save_pretrained(adapter)
    pair, _ = curve.load_pair(kept, adapter)
    models = read.load(kept, [adapter], [("1", 0)])
    loaded = [decode.load(kept, []), models.reference, models.aligned["1", 0]]
    loaded += [part.module for part in pair.parts]
    loaded += [part.module for part in decode.load(kept, [adapter]).parts]
    assert {model.dtype for model in loaded} == {torch.bfloat16}


def test_an_alignment_trains_in_float32_and_scores_pairs_by_the_reference(kept, tmp_path):
    pairs = {"prompt": ["Be kind.", "Why?"], "chosen": ["Sure.", "To."], "rejected": ["I.", "Do."]}
    Dataset.from_dict(pairs).to_parquet(tmp_path / "pairs.parquet")
    of_sft_alone = ("eval_every", "weight_decay", "minimum")
    values = {
        "task": TASK,
        "lora": {"rank": 2, "alpha": 4, "target_modules": "all-linear"},
        "objective": {key: value for key, value in SFT.items() if key not in of_sft_alone},
        "max_new_tokens": 4,
        "preferences": {"pairs": 2, "sharpness": 1, "batch_size": 2},
    }
    args = argparse.Namespace(
        name="dpo",
        beta="0.5",
        seed=0,
        reference=kept,
        examples=tmp_path / "pairs.parquet",
        reward_model=None,
        settings=values,
    )
    settings = job.settings_of(args, align.AlignSettings)
    made = align.make_trainer(args, settings, tmp_path / "checkpoints")
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    assert not made.precompute_ref_logps
    made.train()
    (margin,) = [row["rewards/margins"] for row in made.state.log_history if "loss" in row]
    assert margin == 0  # before its first step the model is the reference
