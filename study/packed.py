"""Unpack what `study.pack` wrote, and refuse an archive that was altered or could do harm.

Nothing of an archive is trusted. Its members are plain files below one folder, each of them once,
and exactly those that its SHA256SUMS names, with these checksums. An archive does not unpack to
more than a number of bytes.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from study import files
from study.pack import SUMS, PackError

#: An archive may unpack to so many bytes, unless more are asked for.
GIGABYTE = 10**9
MAX_BYTES = 4 * GIGABYTE
#: A line of SHA256SUMS.
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@contextmanager
def unpacked(archive: Path, max_bytes: int = MAX_BYTES) -> Iterator[Path]:
    """Unpack an archive into a temporary folder, and yield the folder of the study in it.

    Raises:
        PackError: if the archive is refused.
    """
    with tempfile.TemporaryDirectory(prefix="pack-") as folder:
        yield unpack(archive, Path(folder), max_bytes)


def unpack(archive: Path, into: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Unpack an archive into an empty folder, and return the folder of the study in it.

    Raises:
        PackError: if the archive cannot be read, has a member that it must not have, or is not what
            its checksums say.
    """
    if archive.is_dir():
        raise PackError(
            f"{archive} is a folder; pack it first: "
            f"python -m study.pack {archive} --output {archive.name}.tar.gz"
        )
    try:
        with gzip.open(archive) as plain:
            stream = Limited(plain, max_bytes, archive)
            with tarfile.open(fileobj=stream, mode="r|") as members:
                names = [_extract(members, member, into) for member in members]
    except PackError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise PackError(
            f"{archive} cannot be read as a pack ({type(error).__name__}: {error}); fetch it "
            "again, or make it again with `make pack`"
        ) from error
    tops = {name.split("/")[0] for name in names}
    if len(tops) != 1:
        raise PackError(f"{archive} must hold one folder, and holds {len(tops)}; make it again")
    study = into / tops.pop()
    _check_sums(study, {name.split("/", 1)[1] for name in names})
    return study


class Limited:
    """A stream that refuses to give more than a number of bytes, whatever asks for them."""

    def __init__(self, stream: IO[bytes], max_bytes: int, archive: Path):
        self.stream = stream
        self.left = max_bytes
        self.refusal = (
            f"{archive} unpacks to more than {max_bytes / GIGABYTE:g} GB; if you expect so much, "
            f"add --max-gigabytes {4 * max_bytes / GIGABYTE:g}"
        )

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        piece = self.stream.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise PackError(self.refusal)
        return piece


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> str:
    """Write one member below the folder, and return its name."""
    shown = repr(member.name[:200])
    if not member.isreg() or member.issparse():
        raise PackError(f"{shown} is no plain file, and a pack has no other members; do not use it")
    parts = member.name.split("/")
    if len(parts) < 2 or {"", ".", ".."}.intersection(parts) or re.search(r"[\\:\0]", member.name):
        raise PackError(f"{shown} is outside of the pack's folder; do not use this pack")
    target = into.joinpath(*parts)
    content = archive.extractfile(member)
    assert content is not None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while piece := content.read(files.PIECE):
                file.write(piece)
    except (FileExistsError, NotADirectoryError) as error:
        raise PackError(f"{shown} is in the pack twice; do not use this pack") from error
    return member.name


def _check_sums(study: Path, names: set[str]) -> None:
    """Check that the files are those of SHA256SUMS, with its checksums."""
    if SUMS not in names:
        raise PackError(f"the pack has no {SUMS}; make it again with `make pack`")
    sums = read_sums(study)
    for name in sorted(names - {SUMS} - set(sums)):
        raise PackError(f"{name} is in the pack but not in its {SUMS}; do not use this pack")
    for name, expected in sums.items():
        if name not in names:
            raise PackError(f"{name} is in {SUMS} but not in the pack; fetch the pack again")
        if files.checksum(study / name) != expected:
            raise PackError(
                f"{name} was altered after the pack was made: its SHA-256 is not that of {SUMS}; "
                "fetch the pack again"
            )


def read_sums(study: Path) -> dict[str, str]:
    """Return the checksum of each file of an unpacked study, by its path.

    Raises:
        PackError: if a line of SHA256SUMS is not one.
    """
    sums = {}
    for line in (study / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        found = LINE.fullmatch(line)
        if found is None:
            raise PackError(f"{SUMS} has the line {line[:100]!r}; make the pack again")
        sums[found[2]] = found[1]
    return sums
