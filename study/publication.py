"""Check that results are those of the study that is to be published, and are still what they were.

Run: python -m study.publication results/laptop/manifest.json --study laptop --replicate 1

This finds a file that was left cut, a manifest of another study, and a comparison of runs that was
made from other claims. It is no seal: whoever runs the workflow again gets a manifest anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from study.manifest import checksum


class PublicationError(ValueError):
    """Results that must not be published. The message names the file and says what to do."""


def check(manifest_file: Path, study: str, replicate: int) -> None:
    """Compare a study's results with its manifest.

    Args:
        manifest_file: the study's manifest.json, whose paths are relative to the working folder.
        study, replicate: what the config at hand says.

    Raises:
        PublicationError: if the manifest cannot be read, is that of another study or replicate, or
            names a file that is missing or has changed.
    """
    manifest = _read(manifest_file)
    config = manifest["config"]
    made = (config.get("study"), config.get("replicate", 0))
    if made != (study, replicate):
        raise PublicationError(
            f"{manifest_file} is of the study {made[0]!r}, replicate {made[1]}, but the config is "
            f"of {study!r}, replicate {replicate}; name the config that made the results"
        )
    for name, expected in {**manifest["inputs"], **manifest["outputs"]}.items():
        path = Path(name)
        if not path.exists():
            raise PublicationError(
                f"{name} is in {manifest_file} but is missing; run the study again"
            )
        if checksum(path) != expected:
            raise PublicationError(
                f"{name} is not what it was when {manifest_file} was written; run the study again"
            )


def check_comparison(comparison: Path, claims: Path) -> None:
    """Compare a page of verdicts, run by run, with the claims that it must have been made from.

    Raises:
        PublicationError: if the page was made from other claims.
    """
    if checksum(claims) not in comparison.read_text(encoding="utf-8"):
        raise PublicationError(
            f"{comparison} was not made from {claims} as it is now; run `make replicate` again, or "
            "delete the page"
        )


def _read(manifest_file: Path) -> dict[str, Any]:
    """Return the manifest, in which the parts that are needed are there."""
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        parts = [manifest["config"], manifest["inputs"], manifest["outputs"]]
        if not all(isinstance(part, dict) and part for part in parts):
            raise ValueError("config, inputs or outputs are empty")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublicationError(
            f"{manifest_file} is not a whole manifest ({type(error).__name__}: {error}); delete it "
            "and run the study again, which writes it anew"
        ) from error
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="manifest.json of the study")
    parser.add_argument("--study", required=True, help="the config's `study`")
    parser.add_argument("--replicate", type=int, default=0, help="the config's `replicate`")
    parser.add_argument(
        "--comparison", type=Path, help="the page on which `make replicate` compares runs"
    )
    args = parser.parse_args()
    try:
        check(args.manifest, args.study, args.replicate)
        if args.comparison:
            check_comparison(args.comparison, args.manifest.with_name("claims.json"))
    except PublicationError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
