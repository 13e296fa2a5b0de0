"""docs/extending.md, followed to the letter: the commands as they stand there, in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.workflow
GUIDE = ROOT / "docs/extending.md"


def run(folder: Path, command: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the project after all commands of the guide."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".*", "results", "tests", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    for command in re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        result = run(folder, command)
        assert result.returncode == 0, (command, result.stderr[-3000:])
    return folder


def test_the_guide_leads_to_a_trained_objective_a_task_and_a_metric(extended):
    results = extended / "results/example"
    claims = {claim["id"]: claim for claim in json.loads((results / "claims.json").read_text())}
    assert {f"{task}-agreement-cdpo-0.25" for task in ("length", "one-sentence")} <= set(claims)
    assert claims["one-sentence-per-token-identity"]["verdict"] == "reproduced"
    agreement = pd.read_csv(results / "tables/agreement.csv")
    assert set(zip(agreement["task"], agreement["objective"], strict=True)) >= {
        ("length", "cdpo"),
        ("one-sentence", "cdpo"),
    }
    completions = pd.read_parquet(results / "length/tables/completions.parquet")
    by_hand = [
        sum(map(len, text.split())) / max(len(text.split()), 1)
        for text in completions["completion"]
    ]
    assert completions["metric:my_metric"].tolist() == pytest.approx(by_hand)
    for mentioned in re.findall(r"`(results/example/[^`]+)`", GUIDE.read_text()):
        assert (extended / mentioned).stat().st_size > 1000, mentioned


def test_an_edited_objective_is_trained_again_and_one_that_raises_is_refused_before_any_job(
    extended,
):
    objective, model = (
        extended / "my_objective.py",
        extended / "results/example/length/models/cdpo/beta=1/seed=0",
    )
    text, before = objective.read_text(), (model / "adapter_model.safetensors").stat().st_mtime_ns
    objective.write_text(text.replace("label_smoothing=0.1", "label_smoothing=0.2"))
    planned = run(
        extended, "snakemake --dry-run --quiet host --cores 2 figures --configfile mine.yaml"
    )
    trained = set(
        re.findall(
            r"wildcards: (task=.*, objective=.*, beta=.*), seed=0\n\s+priority",
            planned.stdout + planned.stderr,
        )
    )
    assert trained == {
        f"task={task}, objective=cdpo, beta={beta}"
        for task in ("length", "one-sentence")
        for beta in ("0.25", "1")
    }
    objective.write_text(text + "\nimport nowhere\n")
    result = run(extended, "snakemake --cores 2 figures --configfile mine.yaml")
    assert result.returncode != 0
    assert (
        "config error: my_objective.py cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
        in result.stderr
    )
    assert (model / "adapter_model.safetensors").stat().st_mtime_ns == before
    objective.write_text(text)
