"""Readings of retrained models' completions: who reads whom, and that the numbers are dera's."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from dera import Completions, RealignedModel, read
from eval import decode
from eval import read as reading_job
from eval.read_settings import FACTORS
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

PROMPTS = ["w3 w4 w5", "w6", "w7 w2"]
BETAS = ("0.25", "0.5", "1")
ANCHORS = ("0.25", "1")
SETTINGS = {
    "task": "paper",
    "objective": "rloo",
    "betas": BETAS,
    "anchors": ANCHORS,
    "seed": 3,
    "other_seed": 5,
    "prompts": 3,
    "samples": 2,
    "batch_size": 12,
}
DERA = ["beta", "reader_seed", "anchor"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reference, adapters of two seeds at every beta, and completions, as a study has them."""
    path = tmp_path_factory.mktemp("models")
    word_tokenizer().save_pretrained(path / "reference")
    tiny("llama", 1).save_pretrained(path / "reference")
    Dataset.from_dict({"prompt": PROMPTS}).to_parquet(str(path / "prompts.parquet"))
    for seed in (3, 5):
        for place, beta in enumerate(BETAS):
            adapter = tiny_adapter(tiny("llama", 1), 10 * seed + place)
            adapter.peft_config["default"].base_model_name_or_path = str(path / "reference")
            adapter.save_pretrained(adapter_folder(path, beta, seed))
    for beta in BETAS:
        draw(path, beta)
    return path


def adapter_folder(folder, beta: str, seed: int):
    return folder / f"beta={beta}" / f"seed={seed}"


def draw(folder, beta: str) -> None:
    """Let the decoding job draw three completions of each prompt by the model of seed 3."""
    settings = {
        "task": "paper",
        "prompts": 3,
        "samples": 3,
        "reference_samples": 2,
        "batch_size": 9,
        "max_new_tokens": 6,
        "policies": [
            {"kind": "retrained", "objective": "rloo", "beta": beta, "seed": 3},
            {"kind": "dera", "objective": "rloo", "anchor": beta, "seed": 3, "lams": ["1/2"]},
        ],
    }
    arguments = ["--reference", folder / "reference", "--seed", "1"]
    arguments += ["--adapters", adapter_folder(folder, beta, 3)]
    arguments += ["--prompts", folder / "prompts.parquet"]
    arguments += ["--output", folder / "samples" / beta, "--settings", json.dumps(settings)]
    run(decode, arguments)


def run(module, arguments: list) -> None:
    """Run a job's `main` as the command line would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["job", *map(str, arguments)])
        module.main()


def run_reading(folder, drawn_at: tuple[str, ...] = BETAS, **changes) -> pd.DataFrame:
    """Run the reading job, and return its table."""
    settings = SETTINGS | changes
    seeds = [3] if settings["other_seed"] is None else [3, 5]
    arguments = ["--reference", folder / "reference", "--adapters"]
    arguments += [adapter_folder(folder, beta, seed) for seed in seeds for beta in BETAS]
    arguments += ["--samples", *(folder / "samples" / beta for beta in drawn_at)]
    arguments += ["--prompts", folder / "prompts.parquet", "--output", folder / "read.parquet"]
    arguments += ["--settings", json.dumps(settings)]
    run(reading_job, arguments)
    return pd.read_parquet(folder / "read.parquet")


@pytest.fixture(scope="module")
def table(folder) -> pd.DataFrame:
    return run_reading(folder)


def test_every_reader_reads_every_prompt_of_every_beta_once(table):
    assert tuple(table.columns) == reading_job.COLUMNS
    counts = table.groupby(["beta", "reader"]).size().to_dict()
    for beta in BETAS:
        assert counts[beta, "reference"] == counts[beta, "retrained"] == 3
        assert counts[beta, "dera"] == 3 * len(FACTORS) * len(ANCHORS) * 2
    labels = ["beta", "reader", "reader_seed", "anchor", "factor", "prompt_id"]
    assert not table.duplicated(labels).any()
    assert set(table["task"]) == {"paper"}
    assert set(table["seed"]) == {3}
    assert set(table.loc[table["reader"] == "retrained", "reader_seed"]) == {5}
    assert table.loc[table["reader"] == "reference", "reader_seed"].isna().all()
    others = table[table["reader"] != "dera"]
    assert others[["anchor", "lam", "factor", "slope"]].isna().all(axis=None)


def test_lam_is_the_factor_times_anchor_over_beta(table):
    assert {0.25, 0.8, 1.0, 1.25, 4.0} <= set(FACTORS)
    dera = table[table["reader"] == "dera"]
    matched = dera["anchor"].astype(float) / dera["beta"].astype(float)
    np.testing.assert_allclose(dera["lam"], dera["factor"] * matched)
    for _, rows in dera.groupby([*DERA, "prompt_id"]):
        assert tuple(rows["factor"]) == FACTORS


def test_an_anchor_that_reads_itself_at_lam_1_finds_no_divergence(table):
    """This is the comparison of a model with itself, which must find nothing."""
    is_itself = (
        table["reader_seed"].eq(3)
        & table["anchor"].eq(table["beta"])
        & table["factor"].eq(1)
        & table["reader"].eq("dera")
    ).fillna(False)
    itself = table[is_itself]
    assert len(itself) == 3 * len(ANCHORS)
    assert itself["kl"].abs().max() < 1e-5
    assert itself["slope"].abs().max() < 1e-5
    others = table[table["factor"].eq(1) & ~is_itself]
    assert others.groupby(DERA)["kl"].mean().min() > 1e-2


def test_the_aligned_model_of_the_other_seed_reads_as_the_floor_at_lam_1(table):
    """At beta = anchor and lam = 1, DeRa across seeds is the other seed's retrained model."""
    for anchor in ANCHORS:
        of_beta = table[table["beta"] == anchor]
        floor = of_beta[of_beta["reader"] == "retrained"]
        across = of_beta[of_beta["reader_seed"].eq(5) & of_beta["factor"].eq(1)]
        across = across[across["anchor"] == anchor]
        np.testing.assert_allclose(across["kl"], floor["kl"], atol=1e-5)


def test_the_numbers_are_those_of_the_library_for_each_row_alone(table, folder):
    """Each prompt's first two completions are read one at a time, by models loaded for them."""
    beta, anchor = "0.5", "1"
    loaded = {}
    for name, labels in {"own": (beta, 3), "other": (beta, 5), "anchor": (anchor, 5)}.items():
        adapter = adapter_folder(folder, *labels)
        pair = RealignedModel.from_pretrained(folder / "reference", adapter, merge_adapter=True)
        loaded[name] = pair.aligned
    reference = pair.reference
    drawn = pd.read_parquet(folder / "samples" / beta / "completions.parquet")
    drawn = drawn[(drawn["kind"] == "retrained") & (drawn["sample_id"] < 2)]
    lams = [factor * 2 for factor in FACTORS]

    found = {"reference": [], "retrained": [], "kl": [], "slope": []}
    for row in drawn.itertuples():
        prompt = word_tokenizer()(PROMPTS[row.prompt_id])["input_ids"]
        ids = torch.tensor([[*prompt, *row.token_ids, *([EOS] if row.finished else [])]])
        length = ids.shape[1] - len(prompt)
        completion = Completions(ids, torch.ones_like(ids), length, (EOS,))
        result = read(loaded["own"], reference, loaded["anchor"], completion, lams)
        found["reference"].append(result.to_reference.item())
        to_other = read(loaded["own"], reference, loaded["other"], completion, [1.0])
        found["retrained"].append(to_other.to_aligned.item())
        found["kl"].append(result.by_lam.kl[:, 0].numpy())
        found["slope"].append(result.by_lam.slope[:, 0].numpy())

    of_beta = table[table["beta"] == beta]
    for reader in ("reference", "retrained"):
        expected = np.reshape(found[reader], (3, 2)).mean(1)
        kl = of_beta.loc[of_beta["reader"] == reader].sort_values("prompt_id")["kl"]
        np.testing.assert_allclose(kl, expected, atol=1e-4)
    dera = of_beta[of_beta["anchor"].eq(anchor) & of_beta["reader_seed"].eq(5)]
    for column in ("kl", "slope"):
        expected = np.reshape(found[column], (3, 2, len(FACTORS))).mean(1)
        values = dera.pivot(index="prompt_id", columns="factor", values=column)
        np.testing.assert_allclose(values.to_numpy(), expected, atol=1e-3, rtol=1e-4)


def test_the_size_of_a_batch_changes_nothing(table, folder):
    again = run_reading(folder, batch_size=1)
    pd.testing.assert_frame_equal(again, table, atol=1e-4, rtol=1e-4)


def test_with_one_seed_there_is_no_floor_and_nothing_across_seeds(table, folder):
    alone = run_reading(folder, other_seed=None)
    assert set(alone["reader"]) == {"reference", "dera"}
    assert set(alone["reader_seed"].dropna()) == {3}
    kept = table["reader_seed"].ne(5).fillna(True)
    expected = table[kept].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, atol=1e-4, rtol=1e-4)


def test_completions_of_another_model_are_refused(folder):
    with pytest.raises(ValueError, match="give --samples in the order of betas"):
        run_reading(folder, drawn_at=("0.5", "0.25", "1"))


def test_too_few_completions_are_refused(folder):
    message = "9 of the 12 completions to read: lower evaluation.reading_samples = 4"
    with pytest.raises(ValueError, match=message):
        run_reading(folder, samples=4)


def test_an_anchor_without_a_model_is_refused(folder):
    with pytest.raises(ValueError, match="no model is trained at 2; the betas are 0.25, 0.5, 1"):
        run_reading(folder, anchors=("2",))
