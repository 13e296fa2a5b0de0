"""Draw the figures of a study again, from tables that were derived from its pack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from eval.rederive import Derived
from study import figures, modules
from study.job import Progress
from study.pack import PackError
from study.plan import Plan


def draw(folder: Path, derived: Derived, plan: Plan, output: Path, progress: Progress) -> int:
    """Draw every figure as PDF and PNG, and return how many there are.

    Args:
        folder: the folder of the unpacked study, whose tables are replaced by the derived ones.
        derived: what follows from its tables.
        plan: what the study's config means, which says which figures there are.
        output: the folder for the figures.
        progress: is told what is done.

    Raises:
        PackError: naming the first figure that cannot be drawn.
    """
    for name, table in derived.tables.items():
        table.to_csv(folder / name, index=False)
    drawn = figures.drawn(plan)
    environment = {**os.environ, "PYTHONPATH": str(modules.ROOT)}
    paths = drawn.paths()
    for number, path in enumerate(paths, start=1):
        task, _, name = path.rpartition("/")
        command = [sys.executable, "-m", f"figures.{name}"]
        command += drawn.options(str(folder), name, task or None)
        command += ["--pdf", str(output / f"{path}.pdf"), "--png", str(output / f"{path}.png")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise PackError(f"the figure {path} cannot be drawn from the pack: {said}")
        progress.update(number, len(paths), "figures")
    return len(paths)
