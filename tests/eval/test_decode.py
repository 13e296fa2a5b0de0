"""One decoder for every policy: its tables, and its scores against each model alone, row by row."""

import json
import sys

import pandas as pd
import pytest
import torch
from datasets import Dataset

from dera import RealignedModel
from eval import decode
from eval.columns import POLICY_COLUMNS
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w6"]
PAIRS = [["0.75", "0.25"], ["0", "0"], ["1", "0"], ["1.5", "-0.5"]]
COUNTS = {
    "task": "paper",
    "prompts": 2,
    "samples": 3,
    "reference_samples": 4,
    "batch_size": 5,
    "max_new_tokens": 6,
}
OF_ADAPTER = {"objective": "rloo", "seed": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reference, two adapters on it, and prompts, as the workflow has them."""
    path = tmp_path_factory.mktemp("models")
    word_tokenizer().save_pretrained(path / "reference")
    tiny("llama", 1).save_pretrained(path / "reference")
    upper = {"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}
    for seed, changes in ((2, {}), (3, {}), (4, upper)):
        adapter = tiny_adapter(tiny("llama", 1), seed, **changes)
        adapter.peft_config["default"].base_model_name_or_path = str(path / "reference")
        adapter.save_pretrained(path / f"seed={seed}")
    Dataset.from_dict({"prompt": PROMPTS}).to_parquet(str(path / "prompts.parquet"))
    return path


@pytest.fixture
def decoded(folder, monkeypatch):
    """Runs the job and returns its table and its record."""

    def run(*policies: dict, adapters: tuple[int, ...] = (), **more):
        settings = {**COUNTS, "policies": policies, **more}
        arguments = ["--reference", folder / "reference", "--seed", "1"]
        if adapters:
            arguments += ["--adapters", *(folder / f"seed={seed}" for seed in adapters)]
        arguments += ["--prompts", folder / "prompts.parquet", "--output", folder / "samples"]
        arguments += ["--settings", json.dumps(settings)]
        monkeypatch.setattr(sys, "argv", ["decode", *map(str, arguments)])
        decode.main()
        table = pd.read_parquet(folder / "samples" / "completions.parquet")
        return table, json.loads((folder / "samples" / "decoding.json").read_text())

    return run


def log_prob(model, prompt: list[int], completion: list[int]) -> float:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0].double()
    logs = logits.log_softmax(-1)
    return sum(logs[len(prompt) - 1 + t, token] for t, token in enumerate(completion)).item()


def log_probs_of(model: RealignedModel, row) -> list[float]:
    """Log-probabilities of a row's completion under each part, the reference first."""
    prompt = word_tokenizer()(PROMPTS[row.prompt_id])["input_ids"]
    completion = [*row.token_ids, *([EOS] if row.finished else [])]
    return [log_prob(part.module, prompt, completion) for part in model.parts]


def test_every_pair_is_decoded_and_scored_under_its_own_mixture(decoded, folder):
    """For every completion, log p_policy + log_weight is that of the mixture, not normalised.

    It is log p_ref + sum_i lam_i (log p_i - log p_ref).
    """
    settings = {"kind": "several_rewards", "seed": 4, "lams": PAIRS}
    table, record = decoded(settings, adapters=(2, 3))
    assert table.groupby(["prompt_id", "lams"]).size().to_dict() == {
        (p, ",".join(pair)): 3 for p in (0, 1) for pair in PAIRS
    }
    assert set(table["kind"]) == {"several_rewards"}
    assert set(table["seed"]) == {4}
    assert table["lam"].isna().all()
    assert [(r["kind"], r["lams"], r["completions"]) for r in record["policies"]] == [
        ("several_rewards", 4, 24)
    ]
    model = RealignedModel.from_pretrained(
        folder / "reference", [folder / "seed=2", folder / "seed=3"], merge_adapter=True
    )
    for row in table.itertuples():
        reference, *aligned = log_probs_of(model, row)
        lam = [float(weight) for weight in row.lams.split(",")]
        unnormalised = reference + sum(
            weight * (log - reference) for weight, log in zip(lam, aligned, strict=True)
        )
        assert row.logp_reference == pytest.approx(reference, abs=1e-4)
        assert row.logp_policy + row.log_weight == pytest.approx(unnormalised, abs=1e-4)
        if row.lams in ("0,0", "1,0"):
            alone = reference if row.lams == "0,0" else aligned[0]
            assert row.logp_policy == pytest.approx(alone, abs=1e-4)
            assert row.log_weight == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("adapter", [2, 4], ids=["in all blocks", "in the upper block"])
@pytest.mark.parametrize("baselines", [True, False], ids=["with baselines", "without baselines"])
def test_the_policies_of_one_aligned_model_stand_in_one_table_in_their_order(
    decoded, folder, adapter, baselines
):
    policies = [
        {"kind": "retrained", "beta": "0.25", **OF_ADAPTER},
        {"kind": "dera", "anchor": "0.25", "lams": ["0", "1/4"], **OF_ADAPTER},
        {"kind": "baseline", "name": "weights", "anchor": "0.25", "knobs": ["0.5"], **OF_ADAPTER},
        {"kind": "baseline", "name": "top_k", "anchor": "0.25", "knobs": ["2"], **OF_ADAPTER},
    ]
    policies[-1]["options"] = {"k": 3}
    names = 4 if baselines else 2
    policies = policies[:names]
    table, record = decoded(*policies, adapters=(adapter,))
    assert tuple(table.columns[: len(POLICY_COLUMNS)]) == POLICY_COLUMNS
    columns = ["kind", "beta", "anchor", "lam", "knob"]
    named = table[columns].astype(object).where(table[columns].notna(), None)
    assert [tuple(row) for row in named.drop_duplicates().to_numpy()] == [
        ("retrained", "0.25", None, None, None),
        ("dera", None, "0.25", "0", None),
        ("dera", "1", "0.25", "1/4", None),
        ("weights", None, "0.25", None, "1/2"),
        ("top-k", None, "0.25", None, "2"),
    ][: names + 1]
    # every lam of a prompt comes before the next prompt, and its samples side by side
    dera = table[table["kind"] == "dera"]
    assert dera["prompt_id"].tolist() == [0] * 6 + [1] * 6
    assert dera["lam"].tolist() == (["0"] * 3 + ["1/4"] * 3) * 2
    assert dera["sample_id"].tolist() == [0, 1, 2] * 4
    counts = [(r["kind"], r["lams"], r["completions"]) for r in record["policies"]]
    expected = [("retrained", 1, 6), ("dera", 2, 12), ("weights", 1, 6), ("top-k", 1, 6)]
    assert counts == expected[:names]
    assert all(r["decoding_seconds"] > 0 for r in record["policies"])
    assert record["settings"]["policies"] == policies

    model = RealignedModel.from_pretrained(
        folder / "reference", folder / f"seed={adapter}", merge_adapter=True
    )
    for row in table.itertuples():
        reference, aligned = log_probs_of(model, row)
        assert row.logp_reference == pytest.approx(reference, abs=1e-4)
        if row.kind == "weights":
            assert pd.isna(row.logp_aligned)  # another model stood in the aligned one's place
        else:
            assert row.logp_aligned == pytest.approx(aligned, abs=1e-4)
        if row.kind == "retrained":
            assert row.logp_policy == pytest.approx(aligned, abs=1e-4)
        if row.kind == "dera":
            weight = {"0": 0, "1/4": 0.25}[row.lam]
            mixture = (1 - weight) * reference + weight * aligned
            assert row.logp_policy + row.log_weight == pytest.approx(mixture, abs=1e-4)


def test_the_reference_is_decoded_alone_with_samples_of_its_own(decoded):
    table, record = decoded({"kind": "reference"})
    assert table["kind"].tolist() == ["reference"] * 8
    assert table["objective"].isna().all()
    assert table["logp_policy"].tolist() == table["logp_reference"].tolist()
    assert [(r["kind"], r["completions"]) for r in record["policies"]] == [("reference", 8)]
    assert record["labels"] == {"task": "paper"}


def test_too_few_prompts_are_refused(decoded):
    with pytest.raises(ValueError, match="evaluation.prompts = 3: the test split has only 2"):
        decoded({"kind": "reference"}, prompts=3)


def test_policies_that_need_other_adapters_than_there_are_are_refused(decoded, capsys):
    with pytest.raises(SystemExit):
        decoded({"kind": "dera", "anchor": "1", "lams": ["1"], **OF_ADAPTER})
    assert "these policies need 1 --adapters, got 0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="one job cannot decode reference, retrained"):
        decoded({"kind": "reference"}, {"kind": "retrained", "beta": "1", **OF_ADAPTER})
