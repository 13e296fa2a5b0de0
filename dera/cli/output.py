"""Results: tables for people, JSON for programs, files that are whole or not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dera.estimators import Estimate


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Raises:
        ValueError: if its folder does not exist or may not be written to, or the path is a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder: name a file")
    if not path.parent.is_dir():
        raise ValueError(f"--output {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"--output {path}: the folder {path.parent} may not be written to")


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that whoever looks finds the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    """An object a line; numbers JSON does not have are an error."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned on the right, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def interval(estimate: Estimate, spec: str = ".3f") -> str:
    """`value [low, high]`, without negative zeros; without the interval where there is none (NaN)."""
    value, low, high = (
        format(x, f"z{spec}") for x in (estimate.value, estimate.low, estimate.high)
    )
    return value if low == "nan" else f"{value} [{low}, {high}]"


def note(message: str) -> None:
    """Something the user should know that is not a result."""
    print(f"dera: {message}", file=sys.stderr)
