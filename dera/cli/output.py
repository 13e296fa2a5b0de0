"""Results: tables for people, JSON for programs, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dera.estimators import Estimate


#: By how much the names of files beside an output are longer, such as `.NAME.meta.json.tmp`.
_LONGEST_ENDING = len("..meta.json.tmp")


def check_output(path: Path | None, option: str = "--output") -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Args:
        path: the file.
        option: the option that names it, for messages.

    Raises:
        ValueError: if the file's folder does not exist or may not be written to, or if the path is
            a folder, a device, a pipe, or a link that leads nowhere, or has too long a name.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder: name a file")
    if path.is_symlink():
        raise ValueError(f"{option} {path} is a link that leads nowhere: name another file")
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{option} {path} is a device or a pipe, and results are written to files alone: "
            "name a file"
        )
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: there is no folder {path.parent}, create it first")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"{option} {path}: the folder {path.parent} may not be written to, name another one"
        )
    longest = os.pathconf(path.parent, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if len(os.fsencode(path.name)) + _LONGEST_ENDING > longest:
        raise ValueError(
            f"{option} {path}: its name is too long, because longer names are used beside it. Give "
            f"it at most {longest - _LONGEST_ENDING} bytes"
        )


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see either the whole old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    """Return one JSON object a line.

    Raises:
        ValueError: for numbers that JSON does not have.
    """
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, json_text(value))


def json_text(value: Any) -> str:
    """Return indented JSON.

    Raises:
        ValueError: for numbers that JSON does not have.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
    """Tell the user something that is not a result, if anybody reads it."""
    with contextlib.suppress(OSError):
        print(f"dera: {message}", file=sys.stderr)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()
