"""Each job of every shipped study accepts the command that the workflow gives it.

The small studies that other tests run leave some arguments away, or give them all. So the workflow
only plans the shipped ones here, and each job reads its command line and stops before it starts.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys

import pytest

from study import job
from tests.workflow.studies import ROOT

pytestmark = pytest.mark.workflow
#: Figures are left out: they have two options, which have to be there.
COMMAND = re.compile(r"^Shell command: (python -m (?!figures\.).*)$", re.MULTILINE)
#: The studies whose data lie in the project or are fetched by a job. Those of the others are the
#: user's own, and a dry run looks at them.
STUDIES = ["laptop", "smoke", "objectives", "real-mini", "real", "zephyr"]


class AcceptedError(Exception):
    """The job has read its command line and its settings, and would start now."""


def planned_commands(study: str, folder) -> list[list[str]]:
    """The command of every job of a study, as a list of arguments."""
    command = [
        *(sys.executable, "-m", "snakemake", "figures", "--dry-run", "--printshellcmds"),
        *("--snakefile", str(ROOT / "Snakefile"), "--cores", "2"),
        *("--configfile", str(ROOT / "config" / f"{study}.yaml"), "--directory", str(folder)),
    ]
    planned = subprocess.run(command, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr[-3000:]
    return [shlex.split(command) for command in COMMAND.findall(planned.stdout + planned.stderr)]


@pytest.mark.parametrize("study", STUDIES)
def test_every_job_accepts_its_command(study, tmp_path, monkeypatch):
    def accept(label, args):
        raise AcceptedError

    monkeypatch.setattr(job, "running", accept)
    commands = planned_commands(study, tmp_path)
    assert {"training.data", "eval.decode", "eval.report_pages"} <= {
        command[2] for command in commands
    }
    for command in commands:
        name, arguments = command[2], command[3:]
        monkeypatch.setattr("sys.argv", [name, *arguments])
        # Trainings look at their input before they start.
        with pytest.raises((AcceptedError, FileNotFoundError)):
            importlib.import_module(name).main()
