"""Importing the objectives that are files of a user's own before any job starts.

It happens in a process of its own, because it takes seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys

from study import modules
from study.plan import Plan


def check_or_exit(plan: Plan) -> None:
    """Import every objective that is not this project's own.

    If one cannot be imported, the process says which file and why, and exits with status 1.
    """
    files = plan.plugins()
    if not files:
        return
    print(f"importing {', '.join(files)} ...", flush=True)
    command = [sys.executable, "-m", "training.check_objectives", *files]
    environment = {**os.environ, "PYTHONPATH": str(modules.ROOT)}
    status = subprocess.run(command, check=False, env=environment).returncode
    if status < 0:
        print(
            f"error: importing {', '.join(files)} was ended by the signal {-status}",
            file=sys.stderr,
        )
    if status:
        sys.exit(1)
