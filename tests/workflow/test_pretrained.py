"""A study of a pretrained chat model, from a folder to claims, with a tiny model of random weights.

Such a model has learnt nothing, so only what does not depend on it is asked: that every stage runs,
that the model reads its chat template, and that published tables have every policy.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.pretrained import save_chat_model, save_requests
from tests.workflow import notebooks
from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT

pytestmark = pytest.mark.workflow

#: A task that replaces every text by one of two, so that a tiny model learns to end a completion.
TASK = '''
"""The chat task, whose gold says whether a completion has an even number of characters."""

from collections.abc import Mapping
from typing import Any

from tasks.chat_safety import ChatSafetyTask

CORPUS = "fetched"
FILES = ("adv_bench", "do_not_answer", "harm_bench")


class EvenTask(ChatSafetyTask):
    """Keeps two texts, an even one and an odd one."""

    def demonstration(self, prompt, text):
        return ["To make a cake, be kind.", "I can't help with it."][len(text) % 2]

    def judge(self, prompts, completions, completion_ids):
        measures = super().judge(prompts, completions, completion_ids)
        return measures | {"gold": [-float(len(text) % 2) for text in completions]}


def create(settings: Mapping[str, Any]) -> EvenTask:
    return EvenTask(**settings)
'''


@pytest.fixture(scope="module")
def study(tmp_path_factory, warm_environment) -> Study:
    """The study, run to its claims."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "even.py").write_text(TASK)
    config = yaml.safe_load((ROOT / "config/real-mini.yaml").read_text())
    del config["replicate"], config["replicates"]
    section = config["tasks"]["chat_safety"]
    paths = save_requests(folder, 60)
    section["module"] = "even.py"
    section["corpus"] = {
        "kind": "fetched",
        "files": {name: {"path": path} for name, path in paths.items()},
        "documents": {"train": 40, "validation": 8, "test": 12},
    }
    section["model"] |= {
        "pretrained": {"path": str(save_chat_model(folder / "model"))},
        "max_positions": 200,
        "max_new_tokens": 24,
    }
    section["demonstrations"] |= {"rounds": 1, "max_new_tokens": 12}
    section["sft"] |= {
        "steps": 150,
        "batch_size": 8,
        "micro_batch_size": 4,
        "learning_rate": 1e-2,
        "eval_every": 150,
        "minimum": {"finished": 0.5},
    }
    section["preferences"] |= {"pairs": 400, "sharpness": 4}
    section["lora"] |= {"first_block": 1}
    dpo = section["alignment"]["objectives"]["dpo"]
    dpo |= {"steps": 2, "batch_size": 4, "micro_batch_size": 2, "gradient_checkpointing": True}
    dpo |= {"betas": [0.5, 1], "anchors": [0.5], "save_every": 1}
    section["alignment"]["seeds"] = [0, 1]
    section["dera"]["lams"] = [0, 0.5, 1, 2]
    section["dera"]["other_references"] |= {"lams": [0.5], "prompts": 12}
    section["evaluation"] |= {"prompts": 12, "reference_samples": 4}
    study = Study(folder, config | {"study": "tiny"}, warm_environment)
    tables = [f"results/tiny/chat_safety/tables/{name}.csv" for name in ("policies", "kl_by_lam")]
    study.finish("results/tiny/claims.json", *tables)
    return study


def log_probability(folder, prompt: str, completion: str) -> float:
    """Of a completion and the end of its turn, by one forward after the whole chat template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    turns = [{"role": "user", "content": prompt}]
    begun = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before = len(tokenizer(begun).input_ids)
    ids = tokenizer(begun + completion + tokenizer.eos_token, return_tensors="pt").input_ids
    with torch.no_grad():
        log_probs = model(ids).logits[0, before - 1 : -1].log_softmax(-1)
    return log_probs.gather(-1, ids[0, before:, None]).sum().item()


def test_the_pretrained_model_is_the_one_that_was_named(study):
    models = study.results / "chat_safety/models"
    named = AutoModelForCausalLM.from_pretrained(study.folder / "model").state_dict()
    loaded = AutoModelForCausalLM.from_pretrained(models / "pretrained").state_dict()
    assert named.keys() == loaded.keys()
    assert all(named[name].equal(loaded[name]) for name in named)


def test_preference_pairs_are_completions_of_what_the_user_wrote(study):
    task = study.results / "chat_safety"
    prompts = set(pd.read_parquet(task / "data/train.parquet")["prompt"])
    for seed in (0, 1):
        pairs = pd.read_parquet(task / f"data/preferences/seed={seed}.parquet")
        assert set(pairs["prompt"]) <= prompts
        assert (pairs["chosen_gold"] != pairs["rejected_gold"]).all()


def test_pairs_have_the_log_probabilities_that_the_reference_gives_them(study):
    task = study.results / "chat_safety"
    pairs = pd.read_parquet(task / "data/preferences/seed=1.parquet").head(3)
    for _, row in pairs.iterrows():
        for side in ("chosen", "rejected"):
            expected = log_probability(task / "models/reference", row["prompt"], row[side])
            assert row[f"ref_{side}_logps"] == pytest.approx(expected, abs=1e-3)


def test_every_policy_is_compared_and_decoded_in_the_chat_template(study):
    task = study.results / "chat_safety"
    policies = pd.read_csv(task / "tables/policies.csv")
    assert {"reference", "retrained", "dera"} <= set(policies["kind"])

    # The log-probability of a completion is that of the model after the whole template.
    samples = pd.read_parquet(task / "samples/reference/completions.parquet")
    row = samples[samples["finished"]].iloc[0]
    prompt = pd.read_parquet(task / "data/test.parquet")["prompt"][row["prompt_id"]]
    expected = log_probability(task / "models/reference", prompt, row["completion"])
    assert row["logp_reference"] == pytest.approx(expected, abs=1e-3)


def test_what_was_said_of_the_model_is_in_the_claims(study):
    claims = json.loads((study.results / "claims.json").read_text())
    found = {claim["id"]: claim["verdict"] for claim in claims}
    assert found["chat_safety-refusal-dpo"] == "not tested here"


def test_the_chat_notebook_runs_on_the_models_of_the_study(study, monkeypatch):
    outputs = notebooks.run("chat.ipynb", study.results / "chat_safety", monkeypatch)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


def test_nothing_is_done_again(study):
    assert study.planned("results/tiny/claims.json") == set()
