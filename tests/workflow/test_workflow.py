"""The workflow as its users run it: interrupted, run again, and changed a little."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbclient import NotebookClient
from safetensors.torch import load_file

from tests.workflow.conftest import ROOT, Study

pytestmark = pytest.mark.workflow
KILLED = "beta=0.25/seed=0"


def run_and_kill_an_alignment(study: Study) -> str:
    """Kill the alignment at beta = 0.25 outright once it has a complete checkpoint; return what Snakemake said."""
    process = subprocess.Popen(
        study.command(), env=study.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None:
        if list(study.results.glob("checkpoints/rloo-0.25-*/*/checkpoint-*/seconds.json")):
            for child in psutil.Process(process.pid).children(recursive=True):
                if "training.align" in child.cmdline() and "0.25" in child.cmdline():
                    child.kill()
            break
        time.sleep(0.02)
    return process.communicate(timeout=300)[0]


@pytest.fixture(scope="module")
def interrupted(tiny_config, tmp_path_factory) -> tuple[Study, dict]:
    """A study with one alignment killed half way and then run to its end, and what was seen on the way."""
    tiny_config["alignment"]["objectives"]["rloo"] |= {"steps": 30, "save_every": 2}
    study = Study(tmp_path_factory.mktemp("study"), tiny_config)
    seen = {"first": run_and_kill_an_alignment(study)}
    seen["missing"] = not (study.results / "models/rloo" / KILLED).exists()
    seen["reference"] = (study.results / "models/reference").stat().st_mtime_ns
    result = study.run()
    assert result.returncode == 0, result.stderr[-3000:]
    return study, {**seen, "second": result.stderr}


def test_a_killed_training_resumes_and_nothing_finished_is_done_again(interrupted):
    study, seen = interrupted
    assert seen["missing"]
    assert "[rloo beta=0.25 seed=0] resuming from" in seen["second"]
    assert (study.results / "models/reference").stat().st_mtime_ns == seen["reference"]
    assert not list((study.results / "checkpoints").glob("*"))


def test_every_declared_result_is_there(interrupted):
    study, _ = interrupted
    claims = {claim["id"]: claim for claim in json.loads((study.results / "claims.json").read_text())}
    assert claims["exact-identity"]["verdict"] == claims["per-token-identity"]["verdict"] == "reproduced"
    assert "| claim | source | verdict |" in (study.results / "claims.md").read_text()
    for name in ("length_distributions", "reward_kl_by_beta", "frontier", "training_curves"):
        assert (study.results / f"figures/{name}.png").stat().st_size > 10_000
        assert (study.results / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
    policies = pd.read_csv(study.results / "tables/policies.csv")
    assert set(policies["kind"]) == {"reference", "optimum", "retrained", "dera", "mixture"}
    assert (policies["reward_low"] <= policies["reward"]).all()
    assert (policies["reward"] <= policies["reward_high"]).all()


def test_dera_at_lam_one_is_the_retrained_model_and_at_zero_the_reference(interrupted):
    study, _ = interrupted
    rows = pd.read_parquet(study.results / "tables/completions.parquet")
    dera = rows[rows["policy"] == "dera"]
    ends = {lam: dera[dera["lam"] == lam] for lam in ("0", "1")}
    np.testing.assert_allclose(ends["0"]["logp_policy"], ends["0"]["logp_reference"], atol=1e-4)
    np.testing.assert_allclose(ends["1"]["logp_policy"], ends["1"]["logp_aligned"], atol=1e-4)
    assert (ends["1"]["logp_policy"] - ends["1"]["logp_reference"]).abs().max() > 1e-2
    assert ends["0"]["log_weight"].abs().max() < 1e-4


def test_nothing_is_planned_when_nothing_changed(interrupted):
    assert interrupted[0].planned() == set()


def test_another_beta_trains_that_beta_only(interrupted):
    study, _ = interrupted
    study.config["alignment"]["objectives"]["rloo"]["betas"].append(2)
    planned = study.planned()
    study.config["alignment"]["objectives"]["rloo"]["betas"].pop()
    assert {job for job in planned if job.startswith(("align", "train", "make"))} == {"align objective=rloo, beta=2, seed=0"}
    assert "sample_adapter policy=retrained, objective=rloo, beta=2, seed=0" in planned
    assert "sample_adapter policy=retrained, objective=rloo, beta=1, seed=0" not in planned


def test_an_edited_comment_changes_nothing_and_edited_code_trains_again(interrupted, tmp_path):
    study, _ = interrupted
    for name in ("Snakefile", "config", "dera", "envs", "eval", "figures", "profiles", "report", "study", "tasks", "training"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    study.source = tmp_path
    rloo, snakefile = tmp_path / "training/objectives/rloo.py", tmp_path / "training/training.smk"
    rloo.write_text(rloo.read_text().replace('DATA = "prompts"', 'DATA = "prompts"  # sampled from the policy'))
    snakefile.write_text(snakefile.read_text() + "\n# the end\n")
    assert study.planned() == set()
    rloo.write_text(rloo.read_text().replace("temperature=1.0", "temperature=0.9"))
    planned = study.planned()
    study.source = ROOT
    trained = {job.split(",")[1].strip() for job in planned if job.startswith("align")}
    assert trained == {"beta=0.25", "beta=1"}
    assert "train_reference" not in planned


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(interrupted):
    """Same seed, same machine, same numbers, interrupted or not."""
    study, _ = interrupted
    folder = study.results / "models/rloo" / KILLED
    resumed = load_file(folder / "adapter_model.safetensors")
    shutil.rmtree(folder)
    result = study.run(str(folder.relative_to(study.folder)))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "resuming" not in result.stderr
    again = load_file(folder / "adapter_model.safetensors")
    assert resumed.keys() == again.keys()
    assert all((resumed[name] == again[name]).all() for name in resumed)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sft={stepz: 3}", "sft.stepz = '3': unknown key; allowed here: "),
        ("seed=x", "seed = 'x': must be of type integer"),
        ("dera={lams: []}", "dera.lams = []: must not be empty"),
    ],
)
def test_a_bad_config_is_refused_before_any_job(tiny_config, tmp_path, override, message):
    study = Study(tmp_path, tiny_config)
    result = study.run("--config", override)
    assert result.returncode != 0
    assert [line for line in result.stderr.splitlines() if line.startswith("config error: ")][0].startswith(
        f"config error: {message}"
    )
    assert not study.results.exists()


def test_the_tour_runs_on_the_study_s_models(interrupted, monkeypatch):
    """Every cell of the notebook, in order; a cell that raises fails the test."""
    study, _ = interrupted
    monkeypatch.setenv("DERA_STUDY", str(study.results))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "notebooks/tour.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "KL at most" in outputs[-1]["text"]
