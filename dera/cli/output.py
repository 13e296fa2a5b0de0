"""Results: tables for people, JSON for programs, and files that are whole or not there."""

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
        ValueError: if the file's folder does not exist or may not be written to, or if the path is
            a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"--output {path} is a folder: name a file")
    if not path.parent.is_dir():
        raise ValueError(f"--output {path}: there is no folder {path.parent}, create it first")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"--output {path}: the folder {path.parent} may not be written to, name another one"
        )


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see either the whole old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Return one JSON object a line.

    Raises:
        ValueError: for numbers that JSON does not have.
    """
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns aligned on the right, two spaces apart."""
    columns = zip(header, *rows, strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = [_aligned(cells, widths) for cells in (header, *rows)]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def interval(estimate: Estimate, spec: str = ".3f") -> str:
    """Return `value [low, high]`, or the value alone where there is no interval (NaN).

    Negative zeros are written as zeros.
    """
    value = format(estimate.value, f"z{spec}")
    low = format(estimate.low, f"z{spec}")
    high = format(estimate.high, f"z{spec}")
    return value if low == "nan" else f"{value} [{low}, {high}]"


def note(message: str) -> None:
    """Tell the user something that is not a result."""
    print(f"dera: {message}", file=sys.stderr)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
