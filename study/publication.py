"""Check that results are those of the study that is to be published, and are still what they were.

Run: python -m study.publication results/laptop/manifest.json --study laptop --replicate 1

This finds a file that was left cut, a manifest of another study, and a comparison of runs that was
made from other claims. It is no seal: whoever runs the workflow again gets a manifest anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

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


def check_config(manifest_file: Path, config: Mapping[str, Any]) -> None:
    """Compare the config that made the results with the one at hand.

    Raises:
        PublicationError: naming the first key that differs.
    """
    made = _read(manifest_file)["config"]
    key = first_difference(made, json.loads(json.dumps(config)))
    if key is not None:
        raise PublicationError(
            f"{manifest_file} was written for another config than the one at hand: {key} differs; "
            "run the study again, or name the config that made the results"
        )


def check_folder(folder: Path, config: Mapping[str, Any], own_config: Path) -> None:
    """Check that a folder of published results is there for this study.

    The name of a study that has a file in config/ belongs to that file. Any other name belongs to
    the study that was published under it before.

    Args:
        folder: where the results are to be published.
        config: the config at hand.
        own_config: the file in config/ that has the study's name; it may be missing.

    Raises:
        PublicationError: if the folder is there for another study.
    """
    if own_config.is_file():
        expected = yaml.safe_load(own_config.read_text(encoding="utf-8"))
        whose, remedy = str(own_config), f"give this study another name, or run {own_config}"
    elif (folder / "manifest.json").is_file():
        expected = _read(folder / "manifest.json")["config"]
        whose = f"the study that is published in {folder}"
        remedy = f"give this study another name, or delete {folder} if it is to be replaced"
    else:
        return
    at_hand = {key: value for key, value in config.items() if key != "replicate"}
    expected = {key: value for key, value in expected.items() if key != "replicate"}
    key = first_difference(*json.loads(json.dumps([expected, at_hand])))
    if key is not None:
        raise PublicationError(
            f"{folder} is not for this study: {key} differs from {whose}; {remedy}"
        )


def first_difference(expected: Any, actual: Any, key: str = "") -> str | None:
    """Return the key of a config at which two differ first, or None if they are the same."""
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return None if expected == actual else key
    for name in sorted({*expected, *actual}):
        place = f"{key}.{name}".lstrip(".")
        if name not in expected or name not in actual:
            return place
        differs = first_difference(expected[name], actual[name], place)
        if differs is not None:
            return differs
    return None


def check_named(manifest_file: Path, files: Iterable[Path]) -> None:
    """Check that the manifest names every file that is published with it.

    Raises:
        PublicationError: naming the first that it does not know.
    """
    known = _read(manifest_file)["outputs"]
    for path in files:
        if str(path) not in known:
            raise PublicationError(
                f"{path} is not in {manifest_file}, so nobody knows whether it is whole; delete "
                f"{manifest_file} and run the study again, which writes it anew"
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
    parser.add_argument("--config", type=json.loads, help="the config at hand, as JSON")
    parser.add_argument("--folder", type=Path, help="the folder that is published")
    parser.add_argument("--own-config", type=Path, help="the file in config/ of the study's name")
    parser.add_argument(
        "--files", type=Path, nargs="+", default=[], help="files that are published, of the study"
    )
    parser.add_argument(
        "--comparison", type=Path, help="the page on which `make replicate` compares runs"
    )
    args = parser.parse_args()
    try:
        check(args.manifest, args.study, args.replicate)
        check_named(args.manifest, args.files)
        if args.config is not None:
            check_config(args.manifest, args.config)
            check_folder(args.folder, args.config, args.own_config)
        if args.comparison:
            check_comparison(args.comparison, args.manifest.with_name("claims.json"))
    except PublicationError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
