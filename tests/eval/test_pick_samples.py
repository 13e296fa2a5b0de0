"""The completions to read come back as they were written, whatever a model wrote."""

import sys

import pandas as pd
from datasets import Dataset

from eval import pick_samples
from tests.eval import synthetic


def picked(
    tmp_path, monkeypatch, table: pd.DataFrame, settings: str = '{"objectives": {}}'
) -> pd.DataFrame:
    table.to_parquet(tmp_path / "c.parquet")
    Dataset.from_dict({"prompt": ["p\nq"] * len(table)}).to_parquet(tmp_path / "p.parquet")
    arguments = ["pick", str(tmp_path / "c.parquet"), "--task", "t", "--settings", settings]
    files = ["--prompts", str(tmp_path / "p.parquet"), "--output", str(tmp_path / "s.csv")]
    monkeypatch.setattr(sys, "argv", [*arguments, *files])
    pick_samples.main()
    return pd.read_csv(tmp_path / "s.csv")


def test_completions_with_control_characters_come_back_whole(tmp_path, monkeypatch):
    texts = ["a\rb", 'say "no"', "one\ntwo", "x\x00y", "1, 2"]
    columns = {
        "policy": "reference",
        "objective": None,
        "adapter_beta": None,
        "lam": None,
        "seed": None,
        "sample_id": 0,
        "gold": 0.5,
    }
    table = pd.DataFrame({"prompt_id": range(len(texts)), "completion": texts}).assign(**columns)
    found = picked(tmp_path, monkeypatch, table)
    assert list(found["completion"]) == texts
    assert list(found["prompt"]) == ["p\nq"] * len(texts)


def test_comparators_are_left_out(tmp_path, monkeypatch):
    table = synthetic.completions(
        ["1"], ["1"], [], prompts=3, baselines={"weights": (["1/2"], synthetic.World.mixture)}
    )
    found = picked(tmp_path, monkeypatch, table, '{"objectives": {"rloo": {"seeds": [0, 1]}}}')
    assert set(found["policy"]) == {"reference", "retrained", "dera"}
    assert len(found) == 3 * 3
