"""A claim is followed to tables, completions, models, settings, data and seed, with checksums."""

import hashlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from eval import audit
from study.pack import PackError

CONDITION = {"condition": "beta = 1", "value": 0.25, "low (90%)": 0.125, "high (90%)": 0.5}
CONDITION |= {"threshold": 0.0, "outcome": "holds"}
CLAIM = {
    "id": "length-smooth-rloo",
    "task": "length",
    "verdict": "reproduced",
    "headline": "It moves.",
    "claim": "DeRa moves smoothly.",
    "criterion": "It is above 0.",
    "evidence": {"conditions": [CONDITION]},
}
OF_STUDY = CLAIM | {"id": "memory", "task": None, "evidence": {}}
OBJECTIVE = {"betas": ["0.5", "1"], "seeds": [3]}
SETTINGS = {"objectives": {"rloo": OBJECTIVE, "rloo-judge": OBJECTIVE, "dpo": OBJECTIVE}}


@pytest.fixture
def study(tmp_path) -> Path:
    """A study of one task. Its manifest names the completions, one model and the data."""
    folder = tmp_path / "toy"
    write(folder / "claims.json", [CLAIM, OF_STUDY])
    write(folder / "length/logs/decide_claims.settings.json", SETTINGS)
    settings = {"objective": {"steps": 6, "learning_rate": 0.003}}
    write(folder / "length/logs/align/rloo-beta=1-seed=3.settings.json", settings)
    tables = folder / "length/tables"
    tables.mkdir()
    objectives = ["rloo", "rloo", "dpo", "rloo-judge", None]
    kinds = ["dera", "retrained", "dera", "dera", "reference"]
    table = pd.DataFrame({"kind": kinds, "objective": objectives})
    table.to_parquet(tables / "completions.parquet")
    table.to_csv(tables / "policies.csv", index=False)
    model = folder / "length/models/rloo/beta=1/seed=3"
    model.mkdir(parents=True)
    (model / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "length/data").mkdir()
    (folder / "length/data/train.parquet").write_bytes(b"data")
    completions = (tables / "completions.parquet").read_bytes()
    manifest = {
        "commit": "0123",
        "written": "2026-11-27",
        "config": {"study": "toy", "seed": 5, "replicate": 2, "tasks": {"length": {}}},
        "inputs": {"results/toy/length/data/train.parquet": sha256(b"data")},
        "outputs": {
            "results/toy/length/tables/completions.parquet": sha256(completions),
            "results/toy/length/models/rloo/beta=1/seed=3": sha256(b"weights"),
            "results/toy/length/models/rloo/beta=0.5/seed=3": "f" * 64,
        },
    }
    write(folder / "manifest.json", manifest)
    return folder


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_chain_leads_from_the_claim_to_the_seed(study):
    lines = list(audit.chain(study, "length-smooth-rloo"))
    assert lines[0] == "claim: length-smooth-rloo is 'reproduced', because It moves."
    assert "  beta = 1: 0.25 [0.125, 0.5] with threshold 0: holds" in lines
    csv = (study / "length/tables/policies.csv").read_bytes()
    assert (
        f"  length/tables/policies.csv, 2 rows of rloo: SHA-256 {sha256(csv)}, which the manifest "
        "does not name"
    ) in lines
    completions = (study / "length/tables/completions.parquet").read_bytes()
    said = f"SHA-256 {sha256(completions)}, as in the manifest"
    assert f"completions: length/tables/completions.parquet: {said}" in lines
    for kind in ("dera", "reference", "retrained"):
        assert f"  1 of the kind {kind}" in lines
    model = "length/models/rloo/beta=1/seed=3"
    assert f"  {model}: SHA-256 {sha256(b'weights')}, as in the manifest" in lines
    absent = f"absent here, SHA-256 {'f' * 64} in the manifest"
    assert f"  length/models/rloo/beta=0.5/seed=3: {absent}" in lines
    settings = "length/logs/align/rloo-beta=1-seed=3.settings.json"
    assert f"    trained with {settings}: steps 6, learning_rate 0.003" in lines
    assert f"  length/data/train.parquet: SHA-256 {sha256(b'data')}, as in the manifest" in lines
    assert "  length/data/test.parquet: absent here" in lines
    assert lines[-2:] == ["seed: 5, replicate 2", "code: commit 0123, written 2026-11-27"]
    assert not any("dpo" in line or "judge" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "objectives"),
    [
        ("length-smooth-rloo", ["rloo"]),
        ("length-whole-above-1-rloo-judge", ["rloo-judge"]),
        ("length-interpolation-dpo-0.5", ["dpo"]),
        ("length-adpoption", ["dpo", "rloo", "rloo-judge"]),
    ],
)
def test_the_id_of_a_claim_names_its_objective(name, objectives):
    assert audit._objectives(name, SETTINGS["objectives"]) == objectives


@pytest.mark.parametrize(
    "name", ["length/tables/completions.parquet", "length/models/rloo/beta=1/seed=3"]
)
def test_what_has_changed_ends_with_status_1(study, name, monkeypatch, capsys):
    def status() -> int:
        monkeypatch.setattr(sys, "argv", ["audit", str(study), "length-smooth-rloo"])
        with pytest.raises(SystemExit) as ended:
            audit.main()
        return ended.value.code

    assert status() == 0
    capsys.readouterr()
    if (study / name).is_dir():
        (study / name / "adapter_model.safetensors").write_bytes(b"others")
    else:
        table = pd.read_parquet(study / name)
        table.iloc[::-1].to_parquet(study / name)
    assert status() == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "CHANGED" in line]
    assert name in line


def test_a_claim_of_the_study_has_the_table_of_the_study(study):
    lines = list(audit.chain(study, "memory"))
    assert "tables: tables/timings.csv, which is the study's: absent here" in lines
    assert "  there are none; the evidence in claims.json says why" in lines


def test_a_claim_that_there_is_not_is_refused_with_those_that_are_alike(study):
    with pytest.raises(PackError, match=r"toy has no claim 'smooth'; it has length-smooth-rloo$"):
        list(audit.chain(study, "smooth"))
