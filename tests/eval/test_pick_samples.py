"""The completions to read come back as they were written, whatever a model wrote."""

import json
import sys

import pandas as pd
from datasets import Dataset

from eval import pick_samples
from eval.columns import POLICY_COLUMNS
from tests.eval import synthetic

SETTINGS = {
    "statistics": {"bootstrap_resamples": 10},
    "objectives": {
        "rloo": {
            "reward": "gold",
            "optimum": "known",
            "betas": ["1"],
            "anchors": ["1"],
            "default_beta": "1",
            "seeds": [0, 1],
        }
    },
    "main_objective": "rloo",
}


def picked(tmp_path, monkeypatch, table: pd.DataFrame) -> pd.DataFrame:
    table.to_parquet(tmp_path / "c.parquet")
    Dataset.from_dict({"prompt": ["p\nq"] * len(table)}).to_parquet(tmp_path / "p.parquet")
    settings = json.dumps(SETTINGS)
    arguments = ["pick", str(tmp_path / "c.parquet"), "--task", "t", "--settings", settings]
    files = ["--prompts", str(tmp_path / "p.parquet"), "--output", str(tmp_path / "s.csv")]
    monkeypatch.setattr(sys, "argv", [*arguments, *files])
    pick_samples.main()
    return pd.read_csv(tmp_path / "s.csv")


def test_completions_with_control_characters_come_back_whole(tmp_path, monkeypatch):
    texts = ["a\rb", 'say "no"', "one\ntwo", "x\x00y", "1, 2"]
    columns = dict.fromkeys(POLICY_COLUMNS) | {"kind": "reference", "sample_id": 0, "gold": 0.5}
    table = pd.DataFrame({"prompt_id": range(len(texts)), "completion": texts}).assign(**columns)
    samples = picked(tmp_path, monkeypatch, table)
    assert list(samples["completion"]) == texts
    assert list(samples["prompt"]) == ["p\nq"] * len(texts)


def test_baselines_are_left_out(tmp_path, monkeypatch):
    table = synthetic.completions(
        ["1"], ["1"], [], prompts=3, baselines={"weights": (["1/2"], synthetic.World.mixture)}
    )
    samples = picked(tmp_path, monkeypatch, table)
    assert set(samples["kind"]) == {"reference", "retrained", "dera"}
    assert len(samples) == 3 * 3
