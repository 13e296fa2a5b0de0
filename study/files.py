"""Checksums of files, and files that a full disk or a lost machine has left empty or cut.

Libraries that read a cut file say "header too small" or "Expecting value", and not which file it
was. A job that has failed therefore looks through its inputs.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

#: Files are read in pieces of this many bytes, because a model may be larger than the memory.
PIECE = 2**20


def checksum(*files: Path) -> str:
    """The SHA-256 of the contents of files, one after another, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


def broken_file(path: Path) -> Path | None:
    """Return a file that cannot be read, or None if all can.

    Args:
        path: a file, or a folder whose files are looked at. What does not exist is not broken.
    """
    return next((file for file in _files(path) if not _can_be_read(file)), None)


def _files(path: Path) -> Iterator[Path]:
    """Yield the file, or the files directly in the folder, in the order of their names."""
    if path.is_dir():
        yield from (file for file in sorted(path.iterdir()) if file.is_file())
    elif path.is_file():
        yield path


def _can_be_read(path: Path) -> bool:
    """Return whether a file is whole, as far as its kind shows without reading all of it."""
    # here, because most jobs fail for other reasons and do not ask
    import pyarrow
    import pyarrow.parquet
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as tensors:
                tensors.keys()
        elif path.suffix == ".parquet":
            pyarrow.parquet.read_metadata(path)
        elif path.suffix == ".csv":
            return path.stat().st_size > 0
        elif path.suffix in (".pt", ".pth"):
            # torch writes these as archives with a checksum of each member
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
    except PermissionError:
        return True  # it may be whole
    except (ValueError, OSError, SafetensorError, zipfile.BadZipFile, pyarrow.ArrowException):
        return False
    return True
