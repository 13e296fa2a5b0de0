"""`python -m dera`, the same as the command `dera`."""

import sys

from dera.cli import main

if __name__ == "__main__":
    sys.exit(main())
