"""Running the real workflow on configs of a few seconds, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.workflow import warm_python
from tests.workflow.studies import ROOT

#: With two workers, each runs one job at a time.
CORES = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
QUIET_DRY_RUN = ("--dry-run", "--quiet", "host", "reason")


@pytest.fixture(scope="session")
def warm_environment() -> Iterator[dict[str, str]]:
    """The environment in which jobs start from a Python that has imported the libraries already."""
    with warm_python.warm_environment() as environment:
        yield environment


class Study:
    """A study in a temporary folder. Its `config` may be changed between runs.

    `source` is the folder of the project whose workflow runs; `results` is where the results are.
    """

    def __init__(self, folder: Path, config: dict, environment: dict[str, str]):
        self.folder = folder
        self.config = config
        self.environment = environment
        self.source = ROOT
        self.results = folder / "results" / config["study"]

    def section(self, task: str) -> dict:
        """The task's section of the config."""
        return self.config["tasks"][task]

    def command(self, *arguments: str) -> list[str]:
        """The command that runs the workflow on the config as it is now."""
        config_file = self.folder / "config.yaml"
        config_file.write_text(yaml.safe_dump(self.config))
        options = {
            "--snakefile": self.source / "Snakefile",
            "--workflow-profile": self.source / "profiles/default",
            "--directory": self.folder,
            "--cores": CORES,
            "--configfile": config_file,
        }
        command = [sys.executable, "-m", "snakemake", *arguments]
        for option, value in options.items():
            command += [option, str(value)]
        return command

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run the workflow to its end and return what it said, whether it succeeded or not."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def finish(self, *arguments: str) -> str:
        """Run the workflow, which must succeed, and return what it wrote to standard error."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stderr

    def planned(self, *targets: str) -> set[str]:
        """What a run would do, as lines like `rule wildcards`."""
        result = self.run(*targets, *QUIET_DRY_RUN)
        assert result.returncode == 0, result.stderr
        return planned_jobs(result.stdout + result.stderr)


def planned_jobs(text: str) -> set[str]:
    """The jobs that Snakemake names in a dry run, as lines like `rule wildcards`."""
    jobs = set()
    for block in re.split(r"^(?=(?:local)?rule \w+:)", text, flags=re.MULTILINE)[1:]:
        rule = re.search(r"rule (\w+):", block)[1]
        wildcards = re.search(r"^ +wildcards: (.+)$", block, re.MULTILINE)
        jobs.add(f"{rule} {wildcards[1]}" if wildcards else rule)
    return jobs
