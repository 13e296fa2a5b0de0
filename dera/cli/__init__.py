"""The command line: `dera generate`, `dera sweep`, `dera tune`, `dera diagnose`.

Results go to standard output, and progress and complaints go to standard error. Each command is a
module with its texts, `add_arguments` and `run`. What can be checked without a model is checked
before one is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, as `dera.cli.program.main` does.

    An interruption while the program itself is still being loaded is met here.
    """
    try:
        from dera.cli import program

        return program.main(argv)
    except KeyboardInterrupt:
        print("dera: interrupted", file=sys.stderr)
        return 130
