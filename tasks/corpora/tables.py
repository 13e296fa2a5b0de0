"""Read a table of a user's own, whatever form it has.

A table is a file of JSON lines, which may be gzipped, a CSV file with a header, a Parquet file, or
a folder that `Dataset.save_to_disk` of the library `datasets` has written. A name with `*` stands
for several files of one table, in the order of their names.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

#: The endings of the files that can be read.
JSON_LINES = (".jsonl", ".jsonl.gz")
CSV = ".csv"
PARQUET = ".parquet"


class TableError(ValueError):
    """A table that cannot be used. The message names the file, and the row and column if any."""


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        place: where it stands, for messages, such as "train.jsonl, row 3". The first row is 1.
        values: what it has in each column.
    """

    place: str
    values: Mapping[str, Any]


def read(path: str | Path) -> list[Row]:
    """Read every row of a table.

    Args:
        path: a file, a folder of `save_to_disk`, or files as a name with `*`.

    Raises:
        TableError: if there is no such table, if it is of another kind, broken, or without a row.
    """
    path = Path(path)
    files = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
    rows: list[Row] = []
    for file in files:
        rows += [Row(f"{file}, row {number}", values) for number, values in _numbered(file)]
    if not rows:
        raise TableError(f"{path}: there is no row in it")
    return rows


def _numbered(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of one file or folder, each with its number, from 1."""
    if path.is_dir():
        return enumerate(_saved(path), start=1)
    if not path.is_file():
        raise TableError(f"{path}: there is no such file or folder")
    if path.name.endswith(JSON_LINES):
        return _json_lines(path)
    if path.name.endswith(CSV):
        return _csv(path)
    if path.name.endswith(PARQUET):
        return enumerate(_parquet(path), start=1)
    raise TableError(
        f"{path}: a table is a file that ends in {', '.join(JSON_LINES)}, {CSV} or {PARQUET}, or a "
        "folder of Dataset.save_to_disk; convert it, for example with "
        "pandas.read_json(...).to_parquet(...)"
    )


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a file of JSON lines, each with the number of its line."""
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise TableError(f"{path}, row {number}: is no JSON object such as {{...}}")
                yield number, values
    except json.JSONDecodeError as error:
        raise TableError(f"{path}, row {number}: is not JSON: {error}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read after row {number}: {error}") from error


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a CSV file by its header; the first row below the header is 1."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, values in enumerate(csv.DictReader(lines, strict=True), start=1):
                if None in values or None in values.values():
                    raise TableError(f"{path}, row {number}: has not as many cells as the header")
                yield number, values
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read after row {number}: {error}") from error


def _opened(path: Path) -> TextIO:
    """A file of lines, gzipped or not."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _parquet(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    import pyarrow  # here, because who checks a config without such a file should not wait for it
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path).read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError(f"{path}: is no whole Parquet file: {error}") from error


def _saved(path: Path) -> list[dict[str, Any]]:
    """The rows of a Dataset that was saved to this folder."""
    if (path / "dataset_dict.json").is_file():
        splits = sorted(folder.name for folder in path.iterdir() if folder.is_dir())
        first = path / splits[0] if splits else path
        raise TableError(
            f"{path}: has the splits {', '.join(splits)}; name one of them, such as {first}"
        )
    if not (path / "state.json").is_file():
        raise TableError(
            f"{path}: this folder was not written by Dataset.save_to_disk (it has no state.json); "
            "name a file in it, or save the data so"
        )
    import datasets  # here, because importing it takes seconds

    try:
        return datasets.load_from_disk(str(path)).to_list()
    except Exception as error:  # a damaged folder may raise anything
        raise TableError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
