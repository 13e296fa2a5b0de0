"""The workflow as its users run it: interrupted, run again, and changed a little."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from nbclient import NotebookClient
from safetensors.torch import load_file

from tests.workflow.conftest import ROOT, Study, small

pytestmark = pytest.mark.workflow
KILLED = "beta=0.25/seed=0"
FIGURES = [
    f"length/{name}"
    for name in (
        "reward_kl_by_beta",
        "frontier",
        "training_curves",
        "lam_curve",
        "samples_over_lam",
    )
]
FIGURES += [
    "length/length_distributions",
    "length/baselines",
    "outside",
    "approximation_gap",
    "cost",
]


def run_and_kill_an_alignment(study: Study) -> str:
    """Kill the alignment at beta = 0.25 outright once it has a complete checkpoint; return what Snakemake said."""
    process = subprocess.Popen(
        study.command(),
        env=study.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None:
        if list(study.of_task.glob("checkpoints/rloo-0.25-*/*/checkpoint-*/seconds.json")):
            for child in psutil.Process(process.pid).children(recursive=True):
                if "training.align" in child.cmdline() and "0.25" in child.cmdline():
                    child.kill()
            break
        time.sleep(0.02)
    return process.communicate(timeout=300)[0]


@pytest.fixture(scope="module")
def interrupted(tiny_config, tmp_path_factory) -> tuple[Study, dict]:
    """A study with one alignment killed half way and then run to its end, and what was seen on the way."""
    study = Study(tmp_path_factory.mktemp("study"), tiny_config)
    study.settings["alignment"]["objectives"]["rloo"] |= {"steps": 30, "save_every": 2}
    seen = {"first": run_and_kill_an_alignment(study)}
    seen["missing"] = not (study.of_task / "models/rloo" / KILLED).exists()
    seen["reference"] = (study.of_task / "models/reference").stat().st_mtime_ns
    result = study.run()
    assert result.returncode == 0, result.stderr[-3000:]
    return study, {**seen, "second": result.stderr}


def test_a_killed_training_resumes_and_nothing_finished_is_done_again(interrupted):
    study, seen = interrupted
    assert seen["missing"]
    assert "[length rloo beta=0.25 seed=0] resuming from" in seen["second"]
    assert (study.of_task / "models/reference").stat().st_mtime_ns == seen["reference"]
    assert not list((study.of_task / "checkpoints").glob("*"))


def test_every_declared_result_is_there(interrupted):
    study, _ = interrupted
    claims = {
        claim["id"]: claim for claim in json.loads((study.results / "claims.json").read_text())
    }
    assert (
        claims["exact-identity"]["verdict"]
        == claims["length-per-token-identity"]["verdict"]
        == "reproduced"
    )
    front_page = (study.results / "claims.md").read_text()
    assert all(f"## {name}\n" in front_page for name in claims)
    for name in FIGURES:
        assert (study.results / f"figures/{name}.png").stat().st_size > 10_000, name
        assert (study.results / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF"), name
    policies = pd.read_csv(study.of_task / "tables/policies.csv")
    baselines = {"weights", "probabilities", "temperature", "top-k", "best-of-n"}
    assert (
        set(policies["kind"])
        == {"reference", "optimum", "retrained", "dera", "mixture"} | baselines
    )
    assert (policies["reward_low"] <= policies["reward"]).all()
    assert (policies["reward"] <= policies["reward_high"]).all()
    gathered = pd.read_csv(study.results / "tables/policies.csv")
    assert (gathered["task"] == "length").all()
    assert len(gathered) == len(policies)


def test_an_adapter_s_two_policies_are_decoded_together(interrupted):
    study, _ = interrupted
    for beta, policies in (
        ("0.25", {"retrained", "dera"}),
        ("1", {"retrained"}),
    ):  # 0.25 is the only anchor
        folder = study.of_task / f"samples/rloo-beta={beta}-seed=0"
        rows = pd.read_parquet(folder / "completions.parquet")
        assert set(rows["policy"]) == policies
        record = json.loads((folder / "sampling.json").read_text())
        assert {decoded["policy"] for decoded in record["policies"]} == policies
        assert set(rows["adapter_beta"]) == {beta}


def test_the_manifest_has_the_commit_and_the_checksum_of_every_input_and_output(interrupted):
    study, _ = interrupted
    manifest = json.loads((study.results / "manifest.json").read_text())
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert manifest["commit"] == (commit or None)
    assert manifest["config"]["tasks"]["length"]["sft"]["steps"] == study.settings["sft"]["steps"]
    assert {Path(path).name for path in manifest["inputs"]} == {
        f"{split}.parquet" for split in ("train", "validation", "test")
    }
    figures = {f"results/tiny/figures/{name}.{kind}" for name in FIGURES for kind in ("pdf", "png")}
    models = {
        f"results/tiny/length/models/{model}"
        for model in ("reference", "rloo/beta=0.25/seed=0", "rloo/beta=1/seed=0")
    }
    assert figures | models | {"results/tiny/claims.json"} <= set(manifest["outputs"])
    for path, checksum in {**manifest["inputs"], **manifest["outputs"]}.items():
        files = sorted((study.folder / path).glob("*.safetensors")) or [study.folder / path]
        assert (
            hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() == checksum
        ), path


def test_dera_at_lam_one_is_the_retrained_model_and_at_zero_the_reference(interrupted):
    study, _ = interrupted
    rows = pd.read_parquet(study.of_task / "tables/completions.parquet")
    dera = rows[rows["policy"] == "dera"]
    ends = {lam: dera[dera["lam"] == lam] for lam in ("0", "1")}
    np.testing.assert_allclose(ends["0"]["logp_policy"], ends["0"]["logp_reference"], atol=1e-4)
    np.testing.assert_allclose(ends["1"]["logp_policy"], ends["1"]["logp_aligned"], atol=1e-4)
    assert (ends["1"]["logp_policy"] - ends["1"]["logp_reference"]).abs().max() > 1e-2
    assert ends["0"]["log_weight"].abs().max() < 1e-4


def test_nothing_is_planned_when_nothing_changed(interrupted):
    assert interrupted[0].planned() == set()


def test_the_benchmark_takes_the_pair_that_the_study_has_trained(interrupted):
    result = interrupted[0].run("bench", "--dry-run", "--quiet", "host", "reason")
    assert result.returncode == 0, result.stderr
    planned = re.findall(r"^(?:local)?rule (\w+)", result.stderr + result.stdout, re.MULTILINE)
    assert set(planned) == {
        "make_larger_pair",
        "time_decoding",
        "draw_decoding",
        "tabulate_decoding",
        "bench",
    }


def test_another_beta_trains_that_beta_only(interrupted):
    study, _ = interrupted
    study.settings["alignment"]["objectives"]["rloo"]["betas"].append(2)
    planned = study.planned()
    study.settings["alignment"]["objectives"]["rloo"]["betas"].pop()
    made = {job for job in planned if job.startswith(("align", "train", "make"))}
    assert made == {"align task=length, objective=rloo, beta=2, seed=0"}
    sampled = {job for job in planned if job.startswith("sample_")}
    # the anchor decodes the lam that reaches the new beta, and nothing else is decoded again
    assert sampled == {
        f"sample_adapter task=length, objective=rloo, beta={beta}, seed=0" for beta in ("0.25", "2")
    }


def test_an_edited_comment_changes_nothing_and_edited_code_trains_again(interrupted, tmp_path):
    study, _ = interrupted
    stages = ("bench", "dera", "eval", "figures", "study", "tasks", "training")
    for name in ("Snakefile", "config", "envs", "profiles", "report", *stages):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    study.source = tmp_path
    rloo, snakefile = tmp_path / "training/objectives/rloo.py", tmp_path / "training/training.smk"
    helper = tmp_path / "training/trainers_of_trl.py"
    rloo.write_text(
        rloo.read_text().replace('DATA = "prompts"', 'DATA = "prompts"  # sampled from the policy')
    )
    snakefile.write_text(snakefile.read_text() + "\n# the end\n")
    assert study.planned() == set()
    assert "temperature=1.0" in helper.read_text()
    helper.write_text(helper.read_text().replace("temperature=1.0", "temperature=0.9"))
    planned = study.planned()
    study.source = ROOT
    trained = {job.split(",")[2].strip() for job in planned if job.startswith("align")}
    assert trained == {"beta=0.25", "beta=1"}
    assert not [job for job in planned if job.startswith("train_reference")]


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(interrupted):
    """Same seed, same machine, same numbers, interrupted or not."""
    study, _ = interrupted
    folder = study.of_task / "models/rloo" / KILLED
    resumed = load_file(folder / "adapter_model.safetensors")
    shutil.rmtree(folder)
    result = study.run(str(folder.relative_to(study.folder)))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "resuming" not in result.stderr
    again = load_file(folder / "adapter_model.safetensors")
    assert resumed.keys() == again.keys()
    assert all((resumed[name] == again[name]).all() for name in resumed)


def test_two_rewards_are_mixed_tabulated_judged_and_drawn(tmp_path):
    """A task with a section `several` beside joint models that DeRa does not start from: every stage runs."""
    config = small("summarization")
    task = config["tasks"]["summarization"]
    rloo = {
        key: value
        for key, value in task["alignment"]["objectives"]["rloo"].items()
        if key not in ("reward", "default_beta")
    }
    rewards = {
        "rloo-coverage": {"coverage": 1},
        "rloo-brevity": {"words": -0.05},
        "rloo-1-1": {"coverage": 0.5, "words": -0.025},
    }
    task["alignment"]["objectives"] = {
        name: {
            **rloo,
            "objective": "rloo",
            "reward": reward,
            "betas": [0.5],
            "anchors": [0.5] if name != "rloo-1-1" else [],
        }
        for name, reward in rewards.items()
    }
    del task["preferences"], task["reward_model"]
    task["several_rewards"] = {
        "parts": ["rloo-coverage", "rloo-brevity"],
        "joint": {"rloo-1-1": [0.5, 0.5]},
        "beyond": [[1, 1]],
    }
    study = Study(tmp_path, config)
    result = study.run()
    assert result.returncode == 0, result.stderr[-3000:]
    points = pd.read_csv(study.of_task / "tables/several_rewards.csv")
    assert points["kind"].value_counts().to_dict() == {
        "dera": 5,
        "mixture": 5,
        "single": 2,
        "reference": 1,
        "joint": 1,
    }
    rows = pd.read_parquet(study.of_task / "tables/completions.parquet").query(
        "policy == 'several_rewards' and lams == '0,0'"
    )
    np.testing.assert_allclose(rows["logp_policy"], rows["logp_reference"], atol=1e-4)
    assert set(pd.read_csv(study.of_task / "tables/costs.csv")["objective"]) == {
        "rloo-coverage",
        "rloo-brevity",
    }
    claims = {claim["id"] for claim in json.loads((study.results / "claims.json").read_text())}
    assert {
        "summarization-several-rewards-agreement",
        "summarization-several-rewards-conflict",
    } <= claims
    assert (study.results / "figures/summarization/several_rewards.png").stat().st_size > 10_000
    assert study.planned() == set()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "x", "seed = 'x': must be of type integer"),
        ("tasks.length.sft.stepz", 3, "tasks.length.sft.stepz = 3: unknown key; allowed here: "),
        ("tasks.length.dera.lams", [], "tasks.length.dera.lams = []: must not be empty"),
        (
            "tasks.length.settings.min_tokens",
            13,
            "tasks.length.settings = {'max_tokens': 12, 'min_tokens': 13}: min_tokens = 13 must be at least 1 and at most max_tokens = 12",
        ),
    ],
)
def test_a_bad_config_is_refused_before_any_job(tmp_path, key, value, message):
    study = Study(tmp_path, small("length"))
    *sections, last = key.split(".")
    functools.reduce(dict.__getitem__, sections, study.config)[last] = value
    result = study.run()
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if line.startswith("config error: ")]
    assert line.startswith(f"config error: {message}")
    assert not study.results.exists()


def unlearnt() -> tuple[dict, str, list[str], list[str], str]:
    """A reference that cannot have learnt what is asked for: after ten steps not every summary ends in time."""
    config = small("length")
    config["tasks"]["length"]["sft"]["least"] = {"finished": 1.0}
    message = (
        r"\[length sft\] failed: task length: the reference has not learnt its task: finished is 0\.\d+ on validation prompts, and "
        r"sft\.least\.finished = 1\."
    )
    return (
        config,
        "samples/reference",
        ["data/test.parquet"],
        ["models/reference", "samples"],
        message,
    )


def unteachable() -> tuple[dict, str, list[str], list[str], str]:
    """A reward model that learns from coin flips: it passes one time in a hundred, and the seed is one of the others."""
    config = small("summarization")
    task = config["tasks"]["summarization"]
    task["settings"] |= {
        "facts": 1,
        "noise": 0,
    }  # short posts and summaries, which soon end by themselves
    task["sft"] |= {"steps": 40}
    task["preferences"] |= {"pairs": 256, "sharpness": 0.0001, "length_bias": 0}
    task["reward_model"] |= {"steps": 2, "warmup_steps": 0, "batch_size": 8, "held_out": 20}
    message = (
        r"\[summarization reward model\] failed: task summarization: the reward model ranks \d+ of 20 held-out pairs .* "
        r"to beat chance it must rank 16 \(80\.0%\)"
    )
    done = ["data/preferences.parquet", "models/reference/model.safetensors"]
    return config, "models/rloo/beta=1/seed=0", done, ["models/reward", "models/rloo"], message


@pytest.mark.parametrize("broken", [unlearnt, unteachable])
def test_a_broken_model_stops_the_study_and_leaves_what_is_finished(tmp_path, broken):
    config, wanted, finished, missing, message = broken()
    study = Study(tmp_path, config)
    result = study.run(str((study.of_task / wanted).relative_to(tmp_path)))
    assert result.returncode != 0
    assert re.search(message, result.stderr), result.stderr[-3000:]
    assert all((study.of_task / name).exists() for name in finished)
    assert not any((study.of_task / name).exists() for name in missing)


def test_the_tour_runs_on_the_study_s_models(interrupted, monkeypatch):
    """Every cell of the notebook, in order; a cell that raises fails the test."""
    study, _ = interrupted
    monkeypatch.setenv("DERA_STUDY", str(study.of_task))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "notebooks/tour.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "KL at most" in outputs[-1]["text"]
