"""Scores of completions drawn from two aligned models together, against each model alone, one row at a time."""

import json
import sys

import pandas as pd
import pytest
import torch
from datasets import Dataset

from dera import RealignedModel
from eval import sample_several
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w6"]
PAIRS = [["0.75", "0.25"], ["0", "0"], ["1", "0"], ["1.5", "-0.5"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reference, two adapters on it, and prompts, as the workflow has them."""
    path = tmp_path_factory.mktemp("models")
    word_tokenizer().save_pretrained(path / "reference")
    tiny("llama", 1).save_pretrained(path / "reference")
    for seed in (2, 3):
        adapter = tiny_adapter(tiny("llama", 1), seed)
        adapter.peft_config["default"].base_model_name_or_path = str(path / "reference")
        adapter.save_pretrained(path / f"seed={seed}")
    Dataset.from_dict({"prompt": PROMPTS}).to_parquet(str(path / "prompts.parquet"))
    return path


def log_prob(model, prompt: list[int], completion: list[int]) -> float:
    with torch.no_grad():
        logs = (
            model(input_ids=torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
        )
    return sum(logs[len(prompt) - 1 + t, token] for t, token in enumerate(completion)).item()


def test_every_pair_is_decoded_and_scored_under_its_own_mixture(folder, monkeypatch):
    """log p_ref + sum_i lam_i (log p_i - log p_ref) = log p_policy + log_weight, for every completion."""
    settings = {"prompts": 2, "samples": 3, "batch_size": 5, "max_new_tokens": 6}
    arguments = [
        "--reference",
        folder / "reference",
        "--adapters",
        folder / "seed=2",
        folder / "seed=3",
        "--seed",
        "1",
    ]
    arguments += [
        "--prompts",
        folder / "prompts.parquet",
        "--settings",
        json.dumps(settings),
        "--output",
        folder / "samples",
    ]
    labels = json.dumps({"task": "paper", "seed": 4})
    monkeypatch.setattr(
        sys,
        "argv",
        ["sample", *map(str, arguments), "--lams", json.dumps(PAIRS), "--labels", labels],
    )
    sample_several.main()
    table = pd.read_parquet(folder / "samples" / "completions.parquet")
    assert table.groupby(["prompt_id", "lams"]).size().to_dict() == {
        (p, ",".join(pair)): 3 for p in (0, 1) for pair in PAIRS
    }
    assert set(table["policy"]) == {"several_rewards"}
    assert set(table["seed"]) == {4}
    assert table["lam"].isna().all()
    record = json.loads((folder / "samples" / "sampling.json").read_text())
    assert [(r["policy"], r["lams"], r["completions"]) for r in record["policies"]] == [
        ("several_rewards", 4, 24)
    ]
    model = RealignedModel.from_pretrained(
        folder / "reference", [folder / "seed=2", folder / "seed=3"], merge_adapter=True
    )
    tokenizer = word_tokenizer()
    for row in table.itertuples():
        prompt = tokenizer(PROMPTS[row.prompt_id])["input_ids"]
        completion = [*row.token_ids, *([EOS] if row.finished else [])]
        reference, *aligned = (log_prob(part.module, prompt, completion) for part in model.parts)
        lam = [float(weight) for weight in row.lams.split(",")]
        unnormalised = reference + sum(
            weight * (log - reference) for weight, log in zip(lam, aligned, strict=True)
        )
        assert row.logp_reference == pytest.approx(reference, abs=1e-4)
        assert row.logp_policy + row.log_weight == pytest.approx(unnormalised, abs=1e-4)
        if row.lams in ("0,0", "1,0"):
            assert row.logp_policy == pytest.approx(
                reference if row.lams == "0,0" else aligned[0], abs=1e-4
            )
            assert row.log_weight == pytest.approx(0, abs=1e-4)
