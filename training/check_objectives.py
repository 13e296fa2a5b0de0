"""Import objectives by the paths of their files, to find out before training if one is broken.

The first file that cannot be used ends the job with exit status 1 and one line on standard error.
"""

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
            message = f"{error}; training/objectives/__init__.py says what an objective must offer"
            print(f"config error: {message}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
