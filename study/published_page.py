"""Copy a study's front page to what is published, unless it is too large to keep in Git.

Run: python -m study.published_page results/laptop/index.html docs/laptop
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

#: A larger page is not published.
MAX_BYTES = 5_000_000


def publish(page: Path, folder: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Copy the page into the folder, and return whether it was small enough."""
    if page.stat().st_size > max_bytes:
        return False
    shutil.copyfile(page, folder / page.name)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the page")
    parser.add_argument("folder", type=Path, help="the folder of what is published")
    args = parser.parse_args()
    if not publish(args.page, args.folder):
        size = args.page.stat().st_size / 1e6
        print(
            f"{args.page} is not published: it has {size:.1f} MB, more than {MAX_BYTES / 1e6:g} MB",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
