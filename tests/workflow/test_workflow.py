"""The workflow as its users run it: interrupted, run again, and changed a little.

One study of two tasks, `length` and one with several rewards, is run once. Every test looks at it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.torch import load_file

from tests.report.reading import Page
from tests.workflow import notebooks
from tests.workflow.conftest import Study
from tests.workflow.studies import ROOT, tiny_study, with_rloo, with_several_rewards

pytestmark = pytest.mark.workflow
KILLED = "length/models/rloo/beta=0.25/seed=0"
FIGURES = [
    "agreement",
    "approximation_gap",
    "cost",
    "outside",
    "length/baselines",
    "length/frontier",
    "length/kl_by_lam",
    "length/lam_curve",
    "length/length_distributions",
    "length/other_references",
    "length/reward_kl_by_beta",
    "length/samples_over_lam",
    "length/training_curves",
    "summarization/several_rewards",
]
MODELS = [
    "length/models/other_reference",
    "length/models/reference",
    "length/models/rloo/beta=0.25/seed=0",
    "length/models/rloo/beta=1/seed=0",
    "summarization/models/reference",
    "summarization/models/rloo-1-1/beta=0.5/seed=0",
    "summarization/models/rloo-brevity/beta=0.5/seed=0",
    "summarization/models/rloo-coverage/beta=0.5/seed=0",
]


@dataclass
class Interrupted:
    """What was seen when one training was killed, and when the study was then run to its end."""

    killed_model_was_missing: bool
    reference_was_written: int
    second_run: str
    printed: str


def run_and_kill_a_training(study: Study) -> None:
    """Run the study, and kill the training of RLOO at beta = 0.25 once it has a checkpoint."""
    process = subprocess.Popen(
        study.command(),
        env=study.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = "length/checkpoints/rloo-0.25-*/*/checkpoint-*/seconds.json"
    while process.poll() is None:
        if list(study.results.glob(checkpoint)):
            for child in psutil.Process(process.pid).children(recursive=True):
                if {"training.align", "rloo", "0.25"} <= set(child.cmdline()):
                    child.kill()
            break
        time.sleep(0.02)
    process.wait(timeout=300)


@pytest.fixture(scope="module")
def study(warm_environment, tmp_path_factory) -> Study:
    section = with_rloo("length")
    section["alignment"]["objectives"]["rloo"] |= {"steps": 12, "save_every": 2}
    section["dera"]["other_references"] = {"lams": [0], "samples": 1}
    config = tiny_study(length=section, summarization=with_several_rewards())
    return Study(tmp_path_factory.mktemp("study"), config, warm_environment)


@pytest.fixture(scope="module", autouse=True)
def interrupted(study) -> Interrupted:
    """Run the study to its end after one training was killed half way."""
    run_and_kill_a_training(study)
    reference = study.results / "length/models/reference"
    killed_model_was_missing = not (study.results / KILLED).exists()
    reference_was_written = reference.stat().st_mtime_ns
    run = study.run()
    assert run.returncode == 0, run.stderr[-3000:]
    return Interrupted(killed_model_was_missing, reference_was_written, run.stderr, run.stdout)


def verdicts(study: Study) -> dict[str, str]:
    """The verdict of every claim by the claim's name."""
    claims = json.loads((study.results / "claims.json").read_text())
    return {claim["id"]: claim["verdict"] for claim in claims}


def test_a_killed_training_resumes_and_nothing_finished_is_done_again(study, interrupted):
    assert interrupted.killed_model_was_missing
    assert "[length rloo beta=0.25 seed=0] resuming from" in interrupted.second_run
    reference = study.results / "length/models/reference"
    assert reference.stat().st_mtime_ns == interrupted.reference_was_written
    assert not list((study.results / "length/checkpoints").glob("*"))


def test_both_identities_are_reproduced(study):
    identities = ("exact-identity", "length-per-token-identity", "summarization-per-token-identity")
    found = verdicts(study)
    assert {name: found[name] for name in identities} == dict.fromkeys(identities, "reproduced")


def test_the_page_of_claims_has_a_section_for_every_claim(study):
    claims = (study.results / "claims.md").read_text()
    for claim in verdicts(study):
        assert f"## {claim}\n" in claims


def test_the_front_page_has_every_claim_and_says_that_the_study_is_too_small(study):
    page = Page((study.results / "index.html").read_text())
    assert page.mistakes == []
    for claim, verdict in verdicts(study).items():
        assert verdict in page.texts[claim.replace(".", "")]
    assert "This study is too small to judge aligned models by." in page.text


def test_a_run_ends_by_naming_the_front_page(interrupted):
    rows, last = interrupted.printed.rstrip().rsplit("\n", 1)
    assert last == "The front page of the results is results/tiny/index.html."
    assert "Other strengths are geometric mixtures of reference and one aligned model.\n" in rows


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn(study, figure):
    path = study.results / "figures" / figure
    assert path.with_suffix(".png").stat().st_size > 10_000
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_the_table_of_policies_has_every_kind_and_ordered_intervals(study):
    policies = pd.read_csv(study.results / "length/tables/policies.csv")
    baselines = {"weights", "probabilities", "temperature", "top-k", "best-of-n"}
    kinds = {"reference", "optimum", "retrained", "dera", "mixture"} | baselines
    assert set(policies["kind"]) == kinds
    assert (policies["reward_low"] <= policies["reward"]).all()
    assert (policies["reward"] <= policies["reward_high"]).all()


def test_the_policies_of_every_task_are_gathered_in_one_table(study):
    gathered = pd.read_csv(study.results / "tables/policies.csv")
    assert set(gathered["task"]) == {"length", "summarization"}
    for task, rows in gathered.groupby("task"):
        assert len(rows) == len(pd.read_csv(study.results / f"{task}/tables/policies.csv"))


@pytest.mark.parametrize(
    ("beta", "kinds"),
    [("0.25", {"retrained", "dera"}), ("1", {"retrained"})],
    ids=["the anchor", "no anchor"],
)
def test_the_policies_of_an_aligned_model_are_decoded_together(study, beta, kinds):
    folder = study.results / f"length/samples/rloo-beta={beta}-seed=0"
    rows = pd.read_parquet(folder / "completions.parquet")
    assert set(rows["kind"]) == kinds
    record = json.loads((folder / "decoding.json").read_text())
    assert {decoded["kind"] for decoded in record["policies"]} == kinds
    # the beta of the one aligned model, as each kind of policy writes it
    betas = rows["beta"].where(rows["kind"] == "retrained", rows["anchor"])
    assert set(betas) == {beta}


def test_the_manifest_has_the_commit_and_the_config(study):
    manifest = json.loads((study.results / "manifest.json").read_text())
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert manifest["commit"] == (commit.stdout.strip() or None)
    steps = study.section("length")["sft"]["steps"]
    assert manifest["config"]["tasks"]["length"]["sft"]["steps"] == steps


def test_the_manifest_has_the_checksum_of_every_input_and_output(study):
    manifest = json.loads((study.results / "manifest.json").read_text())
    inputs = manifest["inputs"]
    outputs = manifest["outputs"]
    splits = {f"{split}.parquet" for split in ("train", "validation", "test")}
    assert {Path(path).name for path in inputs} == splits
    expected = {"claims.json", *MODELS}
    for figure in FIGURES:
        expected |= {f"figures/{figure}.pdf", f"figures/{figure}.png"}
    assert {f"results/tiny/{path}" for path in expected} <= set(outputs)
    for path, checksum in {**inputs, **outputs}.items():
        files = sorted((study.folder / path).glob("*.safetensors")) or [study.folder / path]
        content = b"".join(file.read_bytes() for file in files)
        assert hashlib.sha256(content).hexdigest() == checksum, path


def test_dera_at_lam_one_is_the_retrained_model_and_at_zero_the_reference(study):
    rows = pd.read_parquet(study.results / "length/tables/completions.parquet")
    dera = rows[rows["kind"] == "dera"]
    reference = dera[dera["lam"] == "0"]
    aligned = dera[dera["lam"] == "1"]
    np.testing.assert_allclose(reference["logp_policy"], reference["logp_reference"], atol=1e-4)
    np.testing.assert_allclose(aligned["logp_policy"], aligned["logp_aligned"], atol=1e-4)
    assert (aligned["logp_policy"] - aligned["logp_reference"]).abs().max() > 1e-2
    assert reference["log_weight"].abs().max() < 1e-4


def test_two_rewards_are_mixed_at_every_pair_of_weights_and_tabulated(study):
    points = pd.read_csv(study.results / "summarization/tables/several_rewards.csv")
    counts = {"dera": 5, "mixture": 5, "single": 2, "reference": 1, "joint": 1}
    assert points["kind"].value_counts().to_dict() == counts
    costs = pd.read_csv(study.results / "summarization/tables/costs.csv")
    assert set(costs["objective"]) == {"rloo-coverage", "rloo-brevity", "rloo-1-1"}
    claims = {"summarization-several-rewards-agreement", "summarization-several-rewards-conflict"}
    assert claims <= verdicts(study).keys()


def test_two_rewards_with_weights_of_zero_are_the_reference(study):
    rows = pd.read_parquet(study.results / "summarization/tables/completions.parquet")
    rows = rows.query("kind == 'several_rewards' and lams == '0,0'")
    assert len(rows)
    np.testing.assert_allclose(rows["logp_policy"], rows["logp_reference"], atol=1e-4)


def test_nothing_is_planned_when_nothing_changed(study):
    assert study.planned() == set()


def test_the_benchmark_takes_the_pair_that_the_study_has_trained(study):
    pieces = itertools.product(("study", "100M"), (1, 8, 32))
    on_a_cpu = {job for job in study.planned("bench") if "pair=1.1B" not in job}
    assert {job for job in on_a_cpu if "pair=7B" not in job} == {
        "make_larger_pair pair=100M",
        *(f"time_decoding pair={pair}, batch={batch}" for pair, batch in pieces),
        "time_curve",
        "gather_decoding",
        "draw_decoding",
        "tabulate_decoding",
        "bench",
    }


def test_the_report_is_made_without_naming_cores(study, tmp_path):
    """The Makefile and CI make it so; a rule that asks for all cores must not need their number."""
    report = tmp_path / "report.html"
    command = study.command("--report", str(report))
    cores = command.index("--cores")
    del command[cores : cores + 2]
    result = subprocess.run(
        command, env=study.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert report.stat().st_size > 0


def test_another_beta_trains_that_beta_only(study):
    betas = study.section("length")["alignment"]["objectives"]["rloo"]["betas"]
    betas.append(2)
    planned = study.planned()
    betas.remove(2)
    made = {job for job in planned if job.startswith(("align", "train", "make"))}
    assert made == {"align task=length, objective=rloo, beta=2, seed=0"}
    # the anchor decodes the lam that reaches the new beta, and nothing else is decoded again
    assert {job for job in planned if job.startswith("decode")} == {
        "decode task=length, decoding=rloo-beta=0.25-seed=0",
        "decode task=length, decoding=rloo-beta=2-seed=0",
    }


def test_an_edited_comment_changes_nothing_and_edited_code_trains_again(study, tmp_path):
    hidden_and_results = shutil.ignore_patterns(".*", "results", "tests", "docs", "__pycache__")
    shutil.copytree(ROOT, tmp_path, ignore=hidden_and_results, dirs_exist_ok=True)
    rloo = tmp_path / "training/objectives/rloo.py"
    rules = tmp_path / "training/training.smk"
    trainers = tmp_path / "training/trainers_of_trl.py"
    study.source = tmp_path

    # comments: at the end of a line of code, and at the end of the rules
    declaration = 'DATA = "prompts"'
    assert declaration in rloo.read_text()
    rloo.write_text(rloo.read_text().replace(declaration, f"{declaration}  # from the policy"))
    rules.write_text(rules.read_text() + "\n# the end\n")
    planned_after_comments = study.planned()

    # code that every objective of the study imports
    assert "temperature=1.0" in trainers.read_text()
    trainers.write_text(trainers.read_text().replace("temperature=1.0", "temperature=0.9"))
    planned_after_code = study.planned()

    study.source = ROOT
    assert planned_after_comments == set()
    assert {job for job in planned_after_code if job.startswith("align")} == {
        "align task=length, objective=rloo, beta=0.25, seed=0",
        "align task=length, objective=rloo, beta=1, seed=0",
        "align task=summarization, objective=rloo-1-1, beta=0.5, seed=0",
        "align task=summarization, objective=rloo-brevity, beta=0.5, seed=0",
        "align task=summarization, objective=rloo-coverage, beta=0.5, seed=0",
    }
    assert not [job for job in planned_after_code if job.startswith("train_reference")]


def test_the_tour_runs_on_the_models_of_the_study(study, monkeypatch):
    outputs = notebooks.run("tour.ipynb", study.results / "length", monkeypatch)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "KL at most" in outputs[-1]["text"]


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(study):
    """The same seed gives the same numbers on the same machine, interrupted or not."""
    folder = study.results / KILLED
    resumed = load_file(folder / "adapter_model.safetensors")
    shutil.rmtree(folder)
    said = study.finish(str(folder.relative_to(study.folder)))
    assert "resuming" not in said
    again = load_file(folder / "adapter_model.safetensors")
    assert resumed.keys() == again.keys()
    assert all((resumed[name] == again[name]).all() for name in resumed)
