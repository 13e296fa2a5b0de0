"""A study whose prompts and preference pairs are the user's own, with a tiny pretrained model."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.pretrained import save_chat_model
from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT

pytestmark = pytest.mark.workflow

#: The pairs prefer one answer to another, whatever is asked.
CHOSEN, REJECTED = "Sure, take care of it.", "I'm sorry, but I can't help with that."
MODEL = "results/own/own_text/models/dpo/beta=0.1/seed=0"


def write_lines(path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def own_study(folder, environment) -> Study:
    """A study of the tables that lie in `folder`, with a tiny chat model as its reference."""
    asked = [f"How do I kill plant {i}?" for i in range(60)]
    for split, prompts in {"train": asked[:40], "validation": asked[40:48]}.items():
        write_lines(folder / f"{split}.jsonl", [{"prompt": prompt} for prompt in prompts])
    write_lines(folder / "test.jsonl", [{"prompt": prompt} for prompt in asked[48:]])
    pairs = []
    for prompt in asked[:40]:
        turns = [{"role": "user", "content": prompt}]
        chosen, rejected = (
            [*turns, {"role": "assistant", "content": text}] for text in (CHOSEN, REJECTED)
        )
        pairs.append({"chosen": chosen, "rejected": rejected})
    write_lines(folder / "pairs.jsonl", pairs)

    config = yaml.safe_load((ROOT / "config/example.yaml").read_text())
    section = config["tasks"].pop("length")
    section["settings"] = {"min_tokens": 2, "max_tokens": 12}
    section["corpus"] = {
        "kind": "local_files",
        "folder": str(folder),
        "files": {split: f"{split}.jsonl" for split in ("train", "validation", "test")},
        "columns": {"prompt": "prompt"},
    }
    section["model"] = {
        "pretrained": {"path": str(save_chat_model(folder / "model"))},
        "chat": True,
        "million_parameters": 1,
        "max_positions": 160,
        "max_new_tokens": 16,
    }
    section["sft"] = "none"
    section["preferences"] = {
        "source": "files",
        "files": {"path": str(folder / "pairs.jsonl")},
        "columns": {"chosen": "chosen", "rejected": "rejected"},
    }
    dpo = section["alignment"]["objectives"]["dpo"]
    dpo |= {"betas": [0.1, 0.4], "anchors": [0.1], "default_beta": 0.1, "batch_size": 8}
    section["evaluation"] |= {"prompts": 12}
    config |= {"study": "own", "main_task": "own_text", "tasks": {"own_text": section}}
    return Study(folder, config, environment)


@pytest.fixture(scope="module")
def study(tmp_path_factory, warm_environment) -> Study:
    """The study, run to one aligned model."""
    study = own_study(tmp_path_factory.mktemp("own"), warm_environment)
    study.finish(MODEL)
    return study


def margin(model, tokenizer, prompt: str) -> float:
    """How much more likely the chosen answer is than the rejected one, in nats."""
    turns = [{"role": "user", "content": prompt}]
    begun = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before = len(tokenizer(begun).input_ids)
    log_probs = []
    for text in (CHOSEN, REJECTED):
        ids = tokenizer(begun + text + tokenizer.eos_token, return_tensors="pt").input_ids
        with torch.no_grad():
            of_tokens = model(ids).logits[0, before - 1 : -1].log_softmax(-1)
        log_probs.append(of_tokens.gather(-1, ids[0, before:, None]).sum().item())
    return log_probs[0] - log_probs[1]


def test_dpo_begins_at_log_2_and_makes_the_chosen_answer_more_likely(study):
    record = json.loads((study.folder / MODEL / "training.json").read_text())
    losses = [row["loss"] for row in record["history"] if "loss" in row]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)  # the adapter changes nothing yet
    assert losses[-1] < losses[0]

    folder = study.results / "own_text/models/reference"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    held_out = pd.read_parquet(study.results / "own_text/data/test.parquet")["prompt"].head(4)
    before = [margin(reference, tokenizer, prompt) for prompt in held_out]
    aligned = PeftModel.from_pretrained(reference, study.folder / MODEL).eval()
    after = [margin(aligned, tokenizer, prompt) for prompt in held_out]
    assert all(late > early + 1 for early, late in zip(before, after, strict=True))


def test_the_pairs_are_those_of_the_file_and_nothing_is_sampled(study):
    pairs = pd.read_parquet(study.results / "own_text/data/preferences/files.parquet")
    assert list(pairs.columns) == ["prompt", "chosen", "rejected"]
    assert list(pairs["prompt"]) == [f"How do I kill plant {i}?" for i in range(40)]
    assert set(pairs["chosen"]) == {CHOSEN}
    assert set(pairs["rejected"]) == {REJECTED}


def test_another_seed_and_beta_learn_from_the_same_pairs(study):
    study.section("own_text")["alignment"]["seeds"] = [0, 1]
    planned = study.planned("results/own/own_text/models/dpo/beta=0.4/seed=1")
    assert planned == {"align task=own_text, objective=dpo, beta=0.4, seed=1"}


def test_what_is_wrong_with_the_pairs_is_said_in_a_dry_run(tmp_path, warm_environment):
    study = own_study(tmp_path, warm_environment)
    path = tmp_path / "pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[2]["rejected"] = rows[2]["chosen"]
    write_lines(path, rows)
    result = study.run("--dry-run")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"config error: tasks.own_text.preferences: {path}, row 3: the column 'chosen' equals "
        "'rejected'; remove the row, or write `skip_unusable: true`, which leaves such rows out"
    )
