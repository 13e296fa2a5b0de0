"""What a job wrote, so that a table which was cut, emptied or edited later stops the study.

Figures and claims would otherwise be made from what is left of it, as if the missing policies had
never been there. A figure or a page that was cut would be published. A job that succeeds leaves a
file beside its log with the checksum of each table, figure and page that it wrote. The workflow
compares them before it starts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from study.files import checksum

#: How the name of the record ends, which has the name of the log otherwise.
ENDING = ".outputs.json"
#: The kinds of files that are on record. Weights are not, because who loads them reads them whole.
#: Nor is the card of a model, which a user may edit.
KINDS = (".csv", ".json", ".parquet", ".pdf", ".png", ".html", ".md", ".rst")
CARD = "README.md"


def record_of(log: Path) -> Path:
    """The record of what the job with this log wrote."""
    return log.with_suffix(ENDING)


def describe(written: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Say of each file on record, alone or in one of these folders, what it is, by its path."""
    described = {}
    for output in written:
        for file in _on_record(output):
            state = file.stat()
            described[str(file)] = {
                "output": str(output),
                "sha256": checksum(file),
                "bytes": state.st_size,
                "modified": state.st_mtime_ns,
            }
    return described


def changed(results: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what is not as its job wrote it: the file, the output it is part of, what differs.

    An output that is missing is made again, and what has no record is not known.

    Args:
        results: the folder of a study's results, which is searched.
    """
    for record in sorted(results.rglob(f"*{ENDING}")):
        try:
            described = json.loads(record.read_text(encoding="utf-8"))
            for name, was in described.items():
                difference = _difference(Path(name), Path(was["output"]), was)
                if difference:
                    yield name, was["output"], difference
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # a record that is broken itself says nothing


def check_or_exit(results: Path) -> None:
    """End the process with one line if a file is not what its job wrote."""
    found = next(changed(results), None)
    if found is not None:
        name, output, difference = found
        print(
            f"error: {name} is not what its job wrote: {difference}. Delete {output} and run the "
            "study again, which makes it anew.",
            file=sys.stderr,
        )
        sys.exit(1)


def _difference(file: Path, output: Path, was: dict[str, Any]) -> str:
    """Say how a file differs from what was recorded; an empty text if it does not.

    Args:
        file: the file.
        output: the file itself, or the folder that its job made with it. If it is gone, nothing is
            said, because it is made again.
        was: what was recorded.
    """
    if not output.exists():
        return ""
    if not file.is_file():
        return "it is gone"
    state = file.stat()
    if state.st_size == 0 < was["bytes"]:
        return f"it is empty, and had {was['bytes']} bytes"
    if state.st_size != was["bytes"]:
        return f"it has {state.st_size} bytes, and had {was['bytes']}"
    # A file of the same size and time is not read, because a study may have gigabytes of them.
    if state.st_mtime_ns != was["modified"] and checksum(file) != was["sha256"]:
        return "its content has changed"
    return ""


def _on_record(output: Path) -> list[Path]:
    """Return the file if it is of a kind that is on record, or such files of a folder."""
    files = sorted(output.rglob("*")) if output.is_dir() else [output]
    return [file for file in files if file.suffix in KINDS and file.is_file() and file.name != CARD]
