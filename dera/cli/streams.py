"""Standard streams that cannot encode, that nobody reads, or that are closed."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dera.cli.output import note

_HANDLER = "dera-escape"


@contextmanager
def sturdy_streams() -> Iterator[None]:
    """Write characters that a stream's encoding lacks as `\\uXXXX`, and say so once.

    A closed stream becomes one that swallows everything. Its number would otherwise go to the next
    file that is opened, and whatever a library prints would end up there.
    """
    _open_closed_streams()
    escaped: list[str] = []

    def escape(error: UnicodeError) -> tuple[str | bytes, int]:
        if isinstance(error, UnicodeEncodeError):
            escaped.append(error.encoding)
        return codecs.backslashreplace_errors(error)

    codecs.register_error(_HANDLER, escape)
    stream: Any = sys.stdout  # standard error escapes such characters anyway
    can_change = hasattr(stream, "reconfigure")  # a program may put anything in its place
    before = getattr(stream, "errors", None)
    if can_change:
        stream.reconfigure(errors=_HANDLER)
    try:
        yield
        if escaped:
            note(
                f"warning: the output is in {escaped[0]}, which lacks some of its characters: they "
                "are written as \\uXXXX. Set PYTHONIOENCODING=utf-8 to see them"
            )
    finally:
        if can_change:
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=before)


def forget_unwritten() -> None:
    """Drop what a stream could not write, so that Python does not complain of it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed_streams() -> None:
    """Open the null device in the place of streams that were closed when the program started."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    streams: Any = sys
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(streams, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
