"""Runs the command `dera` as `python -m dera`."""

import sys

from dera.cli import main

if __name__ == "__main__":
    sys.exit(main())
