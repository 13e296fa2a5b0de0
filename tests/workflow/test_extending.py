"""docs/extending.md, followed to the letter.

The commands run as they stand there, in a copy of the project.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import QUIET_DRY_RUN, planned_jobs
from tests.workflow.studies import ROOT

pytestmark = pytest.mark.workflow
GUIDE = ROOT / "docs/extending.md"


@dataclass
class Project:
    """A copy of the project, in which commands run as a user would type them."""

    folder: Path
    environment: dict[str, str]

    def run(self, command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def extended(tmp_path_factory, warm_environment) -> Project:
    """A copy of the project after all commands of the guide."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".*", "results", "tests", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    project = Project(folder, warm_environment)
    for command in re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        result = project.run(command)
        assert result.returncode == 0, (command, result.stderr[-3000:])
    return project


def test_the_guide_leads_to_claims_about_the_objective_in_both_tasks(extended):
    results = extended.folder / "results/example"
    claims = json.loads((results / "claims.json").read_text())
    verdicts = {claim["id"]: claim["verdict"] for claim in claims}
    assert "length-interpolation-cdpo-0.25" in verdicts
    assert "one-sentence-interpolation-cdpo-0.25" in verdicts
    assert verdicts["one-sentence-per-token-identity"] == "reproduced"
    for task in ("length", "one-sentence"):
        read = pd.read_csv(results / task / "tables/kl_by_lam.csv")
        assert "cdpo" in set(read["objective"])


def test_the_guide_leads_to_a_column_of_the_metric(extended):
    table = extended.folder / "results/example/length/tables/completions.parquet"
    completions = pd.read_parquet(table)
    by_hand = []
    for text in completions["completion"]:
        words = text.split()
        by_hand.append(sum(map(len, words)) / max(len(words), 1))
    assert completions["metric:my_metric"].tolist() == pytest.approx(by_hand)


def test_the_guide_leads_to_a_baseline_that_is_decoded_judged_and_compared(extended):
    results = extended.folder / "results/example"
    for task in ("length", "one-sentence"):
        policies = pd.read_csv(results / task / "tables/policies.csv")
        of_baseline = policies[policies["kind"] == "square-roots"]
        assert sorted(set(of_baseline["knob"])) == [0.25, 0.5, 0.75]
        assert (of_baseline["passes"] == 2).all()
        claims = json.loads((results / task / "claims.json").read_text())
        assert any("beats-square-roots" in claim["id"] for claim in claims)


def test_every_result_that_the_guide_mentions_is_there(extended):
    for mentioned in re.findall(r"`(results/example/[^`]+)`", GUIDE.read_text()):
        assert (extended.folder / mentioned).stat().st_size > 1000, mentioned


def test_an_edited_objective_is_trained_again(extended):
    objective = extended.folder / "my_objective.py"
    text = objective.read_text()
    objective.write_text(text.replace("label_smoothing=0.1", "label_smoothing=0.2"))
    command = ["snakemake", *QUIET_DRY_RUN, "--cores 2 figures --configfile mine.yaml"]
    result = extended.run(" ".join(command))
    objective.write_text(text)
    planned = planned_jobs(result.stdout + result.stderr)
    assert {job for job in planned if job.startswith("align")} == {
        f"align task={task}, objective=cdpo, beta={beta}, seed=0"
        for task in ("length", "one-sentence")
        for beta in ("0.25", "1")
    }


def test_an_objective_that_raises_is_refused_before_any_job(extended):
    objective = extended.folder / "my_objective.py"
    model = extended.folder / "results/example/length/models/cdpo/beta=1/seed=0"
    written = (model / "adapter_model.safetensors").stat().st_mtime_ns
    text = objective.read_text()
    objective.write_text(text + "\nimport nowhere\n")
    result = extended.run("snakemake --cores 2 figures --configfile mine.yaml")
    objective.write_text(text)
    assert result.returncode != 0
    message = (
        "config error: my_objective.py cannot be imported: "
        "ModuleNotFoundError: No module named 'nowhere'"
    )
    assert message in result.stderr
    assert (model / "adapter_model.safetensors").stat().st_mtime_ns == written
