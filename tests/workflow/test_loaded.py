"""A study of models that others aligned: nothing is trained, and everything else is as ever.

One aligned model is whole, and the other is an adapter on the reference. All weights are random, so
only what does not depend on them is asked.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.dera.architectures import tiny_adapter
from tests.pretrained import save_chat_model, save_requests
from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT

pytestmark = pytest.mark.workflow

ALIGNED = ("whole", "adapter")


@pytest.fixture(scope="module")
def study(tmp_path_factory, warm_environment) -> Study:
    """The study of config/zephyr.yaml with tiny models, run to its figures."""
    folder = tmp_path_factory.mktemp("loaded")
    save_chat_model(folder / "reference")
    save_chat_model(folder / "whole", seed=1)
    base = AutoModelForCausalLM.from_pretrained(folder / "reference")
    tiny_adapter(base, 2).save_pretrained(folder / "adapter")

    config = yaml.safe_load((ROOT / "config/zephyr.yaml").read_text())
    del config["replicate"], config["replicates"]
    section = config["tasks"]["chat_safety"]
    paths = save_requests(folder, 60)
    section["corpus"]["files"] = {name: {"path": path} for name, path in paths.items()}
    section["corpus"]["documents"] = {"train": 4, "validation": 4, "test": 8}
    section["model"] |= {
        "pretrained": {"path": str(folder / "reference")},
        "dtype": "float32",
        "max_positions": 200,
        "max_new_tokens": 8,
    }
    section["alignment"] = {
        "main_objective": "whole",
        "seeds": [0],
        "objectives": {
            name: {"pretrained": [{"path": str(folder / name)}], "betas": [0.1], "anchors": [0.1]}
            for name in ALIGNED
        },
    }
    section["evaluation"] |= {"prompts": 8, "samples": 2, "reference_samples": 2}
    study = Study(folder, config | {"study": "tiny"}, warm_environment)
    study.finish("figures")
    return study


def log_probability(model, tokenizer, prompt: str, row: pd.Series) -> float:
    """Of a completion's tokens, by one forward after the chat template."""
    turns = [{"role": "user", "content": prompt}]
    begun = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(begun).input_ids
    ended = [tokenizer.eos_token_id] if row["finished"] else []
    completion = [*row["token_ids"], *ended]
    with torch.no_grad():
        logits = model(torch.tensor([ids + completion])).logits[0, len(ids) - 1 : -1]
    log_probs = logits.log_softmax(-1)
    return log_probs.gather(-1, torch.tensor(completion)[:, None]).sum().item()


def test_nothing_was_trained_and_the_records_say_so(study):
    for name in ALIGNED:
        folder = study.results / f"chat_safety/models/{name}/beta=0.1/seed=0"
        record = json.loads((folder / "training.json").read_text())
        assert (record["stage"], record["seconds"], record["history"]) == ("load", 0, [])
        assert record["loaded_from"]["path"] == str(study.folder / name)
    assert not (study.results / "chat_safety/logs/align").exists()
    assert not (study.results / "figures/chat_safety/training_curves.png").exists()


@pytest.mark.parametrize("name", ALIGNED)
def test_each_aligned_model_decodes_as_the_one_that_was_named(study, name):
    tokenizer = AutoTokenizer.from_pretrained(study.folder / "reference")
    reference = AutoModelForCausalLM.from_pretrained(study.folder / "reference")
    if name == "adapter":
        base = AutoModelForCausalLM.from_pretrained(study.folder / "reference")
        aligned = PeftModel.from_pretrained(base, study.folder / name)
    else:
        aligned = AutoModelForCausalLM.from_pretrained(study.folder / name)
    prompts = pd.read_parquet(study.results / "chat_safety/data/test.parquet")["prompt"]
    samples = study.results / f"chat_safety/samples/{name}-beta=0.1-seed=0/completions.parquet"
    table = pd.read_parquet(samples)
    assert set(table["kind"]) == {"retrained", "dera"}
    for _, row in table[table["kind"] == "retrained"].head(3).iterrows():
        prompt = prompts[row["prompt_id"]]
        of_aligned = log_probability(aligned.eval(), tokenizer, prompt, row)
        of_reference = log_probability(reference.eval(), tokenizer, prompt, row)
        assert row["logp_policy"] == pytest.approx(of_aligned, abs=1e-3)
        assert row["logp_reference"] == pytest.approx(of_reference, abs=1e-3)


def test_the_identity_holds_and_claims_of_several_models_are_not_tested(study):
    claims = json.loads((study.results / "claims.json").read_text())
    found = {claim["id"]: claim["verdict"] for claim in claims}
    assert found["chat_safety-per-token-identity"] == "reproduced"
    of_models = {name: found[name] for name in found if name.endswith(ALIGNED)}
    assert "chat_safety-refusal-whole" in of_models
    assert set(of_models.values()) == {"not tested here"}


def test_figures_show_both_models_over_lam(study):
    policies = pd.read_csv(study.results / "chat_safety/tables/policies.csv")
    dera = policies[(policies["kind"] == "dera") & (policies["seed"] == "mean")]
    for name in ALIGNED:
        assert set(dera.loc[dera["objective"] == name, "lam"]) == {0, 0.25, 0.5, 0.75, 1, 2, 5, 10}
    drawn = {path.stem for path in (study.results / "figures/chat_safety").glob("*.png")}
    assert {"frontier", "kl_by_lam", "lam_curve", "safety", "samples_over_lam"} <= drawn
