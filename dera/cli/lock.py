"""One writer a file: a lock that names the process that holds it.

The lock is one of the operating system, on the file `.NAME.lock` beside the output. It ends with
its process, however that ends, so the file that a killed process leaves behind locks nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

#: How a file system says that it has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of an output, and remove its file at the end.

    Yields:
        whether there is a lock. Some systems and file systems have none.

    Raises:
        ValueError: if another process holds the lock, naming it.
        OSError: if the lock's file cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _acquire(lock, path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        # The file is removed before its lock is released: whoever opens it later makes a new one.
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(descriptor)


def _acquire(lock: Path, path: Path) -> int | None:
    """Return a descriptor of the lock's file that holds the lock; None if there are no locks."""
    if fcntl is None:
        return None
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock_now(descriptor, path):
                os.close(descriptor)
                return None
            # The holder before us may have removed the file that we opened.
            if _is_still(descriptor, lock):
                _write_holder(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock_now(descriptor: int, path: Path) -> bool:
    """Take the lock without waiting; returns whether the file system has locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another process writes {path} already: {_holder(descriptor)}. Wait until it has "
            "ended, or name another file with --output"
        ) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _is_still(descriptor: int, lock: Path) -> bool:
    """Return whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    """Write into the lock's file which process this is."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
    """Return which process holds the lock, in words."""
    try:
        holder = json.loads(os.pread(descriptor, 10_000, 0))
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has begun this moment
        return "it has only just begun"
