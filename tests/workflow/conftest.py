"""Running the real workflow on configs of a few seconds, in a folder of its own."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Study:
    """A study of one task in a temporary folder: `config` may be changed between runs. `of_task` has the task's own results."""

    def __init__(self, folder: Path, config: dict):
        self.folder, self.config, self.source = folder, config, ROOT
        (self.task,) = config["tasks"]
        self.results = folder / "results" / config["study"]
        self.of_task = self.results / self.task

    @property
    def settings(self) -> dict:
        """The task's section of the config."""
        return self.config["tasks"][self.task]

    def command(self, *arguments: str) -> list[str]:
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        workflow = [
            "--snakefile",
            str(self.source / "Snakefile"),
            "--workflow-profile",
            str(self.source / "profiles/default"),
        ]
        where = ["--directory", str(self.folder), "--cores", "2", "--configfile", str(path)]
        return [sys.executable, "-m", "snakemake", *arguments, *workflow, *where]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(self) -> set[str]:
        """What a run would do, as lines like `rule wildcards`."""
        result = self.run("--dry-run", "--quiet", "host", "reason")
        assert result.returncode == 0, result.stderr
        jobs, lines = set(), result.stderr.splitlines() + result.stdout.splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("rule ", "localrule ")):
                block = lines[number : number + 12]
                wildcards = next(
                    (
                        text.split(":", 1)[1].strip()
                        for text in block
                        if text.strip().startswith("wildcards:")
                    ),
                    "",
                )
                jobs.add(f"{line.split()[1].rstrip(':')} {wildcards}".strip())
        return jobs


def smoke_config() -> dict:
    return yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())


def small(task: str) -> dict:
    """The smoke study with one of its tasks, one objective, and less of everything."""
    config = smoke_config()
    settings = copy.deepcopy(config["tasks"][task])
    settings["dera"]["lams"] = [0, 1]
    settings["corpus"]["documents"] = {"train": 200, "validation": 16, "test": 8}
    settings["sft"] |= {"steps": 10, "eval_every": 5, "warmup_steps": 2, "batch_size": 16}
    settings["alignment"]["objectives"] = {
        "rloo": settings["alignment"]["objectives"]["rloo"] | {"steps": 4, "batch_size": 16}
    }
    settings["evaluation"] |= {"prompts": 8, "reference_samples": 4}
    return config | {"study": "tiny", "main_task": task, "tasks": {task: settings}}


@pytest.fixture(scope="module")
def tiny_config() -> dict:
    return small("length")
