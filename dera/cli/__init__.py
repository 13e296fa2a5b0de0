"""The command line: `dera generate`, `dera sweep`, `dera tune`, `dera diagnose`.

Results go to standard output, and progress and complaints go to standard error. Each command is a
module with its texts, `add_arguments` and `run`. What can be checked without a model is checked
before one is loaded.
"""

from dera.cli.program import main

__all__ = ["main"]
