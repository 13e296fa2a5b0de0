"""A finished study made on paper, whose files are written by the jobs of the workflow.

The completions and the readings are drawn from known distributions (`tests.eval.synthetic`). The
jobs that summarise, decide and gather are those of a real study. Only the check of the identity on
a task's own models is left out, because there are none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic
import pytest
import yaml

from eval import collect_training, decide, gather_claims, gather_table, kl_by_lam, summarize
from eval.claims import REPRODUCED, Claim, Evidence, identities
from eval.judging import Judging
from study import resolve, settings
from tests.eval import synthetic

ROOT = Path(__file__).parents[2]
TASK = "length"
BETAS = ("0.25", "0.5")
ANCHOR = "0.25"
SEEDS = range(5)
PROMPTS = 36


def make(results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the study below a folder `results`, and return the study's folder."""
    config = config_of_study()
    plan = resolve.plan_of(config)
    folder = results / "paper"
    judging = settings.judging(plan, plan.tasks[TASK])
    _write_json(folder / TASK / "logs/decide_claims.settings.json", judging)
    _write_tables(folder / TASK, pydantic.TypeAdapter(Judging).validate_python(judging))
    repeat = {"one model": 1.0, "two models": 1.9, "wall over processor": 1.0}
    sizes = {"model bytes": 100, "pair bytes": 200, "adapter bytes": 5}
    (folder / "tables").mkdir()
    pd.DataFrame([{**repeat, **sizes}] * 5).to_csv(folder / "tables/timings.csv", index=False)
    _run_jobs(folder, monkeypatch)
    _write_manifest(folder, config)
    return folder


def config_of_study() -> dict[str, Any]:
    """The example's config, with the objective and the strengths of the study."""
    config = yaml.safe_load((ROOT / "config/example.yaml").read_text())
    alignment = config["tasks"][TASK]["alignment"]
    rloo = {**alignment["objectives"]["dpo"], "objective": "dpo"}
    rloo |= {"betas": [float(beta) for beta in BETAS], "anchors": [0.25], "default_beta": 0.25}
    alignment |= {"main_objective": "rloo", "seeds": list(SEEDS), "objectives": {"rloo": rloo}}
    return config | {"study": "paper"}


def run(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: Any) -> None:
    """Run a job of the workflow in this process."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def _write_tables(folder: Path, judging: Judging) -> None:
    """Write what models would have drawn, read and recorded."""
    table = synthetic.completions(
        BETAS, [ANCHOR], synthetic.UNIT, PROMPTS, samples=4, seeds=len(SEEDS)
    )
    (folder / "tables").mkdir(parents=True)
    table.to_parquet(folder / "tables/completions.parquet")
    read = synthetic.readings(BETAS, [ANCHOR], PROMPTS, len(SEEDS)).table
    (folder / "readings").mkdir()
    for seed, rows in read.groupby("seed"):
        rows.to_parquet(folder / f"readings/rloo-seed={seed}.parquet")
    (folder / "data").mkdir()
    prompts = pd.DataFrame({"prompt": [f"Prompt {number}." for number in range(PROMPTS)]})
    prompts.to_parquet(folder / "data/test.parquet")

    # what each job has recorded: the reference and a model of each strength and seed
    history = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    record = {"stage": "sft", "seconds": 9.0, "history": history}
    _write_json(folder / "models/reference/training.json", record)
    _write_json(folder / "samples/reference/decoding.json", {"policies": []})
    for seed in SEEDS:
        for beta in BETAS:
            labels = {"objective": "rloo", "beta": beta, "seed": seed}
            path = folder / f"models/rloo/beta={beta}/seed={seed}/training.json"
            _write_json(path, {**record, **labels, "stage": "align", "seconds": 20.0 + seed})
            decoded = []
            for kind, lams, seconds in (("retrained", 1, 2.0), ("dera", 5, 12.0 + seed)):
                counts = {"lams": lams, "decoding_seconds": seconds}
                decoded.append({"kind": kind, "objective": "rloo", "seed": seed, **counts})
            path = folder / f"samples/rloo-beta={beta}-seed={seed}/decoding.json"
            _write_json(path, {"policies": decoded})
    curve = pd.DataFrame({"objective": "rloo", "lam": [0.0, 1.0], "reward": [-1.0, -0.5]})
    for path in (folder / "curves/rloo/0.25/seed=0.csv", folder / "tables/curves.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        curve.to_csv(path, index=False)


def _run_jobs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the jobs that summarise, decide and gather."""
    task = folder / TASK
    tables = task / "tables"
    judged = ("--settings", task / "logs/decide_claims.settings.json", "--task", TASK)
    completions = tables / "completions.parquet"
    adapters = sorted(path.parent for path in task.glob("models/rloo/*/*/training.json"))
    samples = sorted((task / "samples").iterdir())
    readings = sorted((task / "readings").iterdir())

    arguments = ["--policies", tables / "policies.csv", "--lengths", tables / "lengths.csv"]
    arguments += ["--win-rates", tables / "win_rates.csv"]
    run(monkeypatch, summarize, completions, *judged, *arguments)
    output = ("--task", TASK, "--output")
    run(monkeypatch, kl_by_lam, *reversed(readings), *output, tables / "kl_by_lam.csv")
    models = [task / "models/reference", *reversed(adapters)]
    run(monkeypatch, collect_training, *models, *output, tables / "training.csv")

    monkeypatch.setattr(identities, "decide", _identity)
    arguments = ["--reference", task / "models/reference", "--adapters", *adapters]
    arguments += ["--checked-adapter", adapters[0], "--samples", *samples]
    arguments += ["--readings", *readings, "--prompts", task / "data/test.parquet"]
    for name in ("agreement", "costs", "controls"):
        arguments += [f"--{name}", tables / f"{name}.csv"]
    arguments += ["--output", task / "claims.json"]
    run(monkeypatch, decide, completions, *judged, *arguments)

    for name in ("policies", "costs", "agreement"):
        output = ("--output", folder / f"tables/{name}.csv")
        run(monkeypatch, gather_table, tables / f"{name}.csv", "--tasks", TASK, *output)
    arguments = ["--controls", tables / "controls.csv", "--study", "paper"]
    arguments += ["--timings", folder / "tables/timings.csv", "--output", folder / "claims.json"]
    run(monkeypatch, gather_claims, task / "claims.json", *arguments)


def _identity(evidence: Evidence) -> list[Claim]:
    """The claim for which a real study runs its models."""
    claim = Claim(
        id=f"{evidence.task}-per-token-identity",
        part="premise",
        claim="Mixing logits is the mixture.",
        source="paper",
        criterion="The largest difference is small.",
        task=evidence.task,
        must_hold=True,
    )
    return [claim.decided(REPRODUCED, "It is 1e-07.", {"largest difference": 1e-7})]


def _write_manifest(folder: Path, config: dict[str, Any]) -> None:
    """Write the config and the checksums of some files, as the manifest of a study has them."""
    outputs = {}
    for name in (f"{TASK}/tables/completions.parquet", "claims.json", "claims.md"):
        digits = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        outputs[f"results/paper/{name}"] = digits
    inputs = {f"results/paper/{TASK}/data/train.parquet": "0" * 64}  # it is not packed
    manifest = {"commit": "0123", "config": config, "inputs": inputs, "outputs": outputs}
    _write_json(folder / "manifest.json", manifest)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
