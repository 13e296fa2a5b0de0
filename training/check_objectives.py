"""Import objectives by the paths of their files; exit with status 1 and one line on standard error for the first that fails."""

from __future__ import annotations

import argparse
import sys

from study.modules import ModuleError
from training import objectives


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", help="files of objectives")
    for file in parser.parse_args().files:
        try:
            objectives.load(file)
        except ModuleError as error:
            print(
                f"config error: {error}; the contract is in training/objectives/__init__.py",
                file=sys.stderr,
            )
            sys.exit(1)


if __name__ == "__main__":
    main()
