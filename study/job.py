"""What every job does the same way: arguments, one log file, progress for the person watching, atomic outputs."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import pydantic
import pydantic.dataclasses

#: Decorates the typed settings of a job: a frozen dataclass that refuses unknown keys and values of another type.
settings_class = pydantic.dataclasses.dataclass(
    frozen=True, config=pydantic.ConfigDict(extra="forbid")
)
Settings = TypeVar("Settings")


def settings_of(args: argparse.Namespace, kind: type[Settings]) -> Settings:
    """The job's settings as an instance of `kind`, a class that `settings_class` decorates.

    Raises:
        ValueError: naming the key and the value that do not fit.
    """
    return pydantic.TypeAdapter(kind).validate_python(args.settings)


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the options every job has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--settings", type=json.loads, default={}, help="this stage's part of the config, as JSON"
    )
    result.add_argument(
        "--seed", type=int, default=0, help="seed of everything random in this job (default 0)"
    )
    result.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    result.add_argument(
        "--log",
        type=Path,
        help="write all output to this file; progress still shows on the terminal",
    )
    return result


class Progress:
    """Prints how far a job is and how long it has left, at most once every few seconds."""

    def __init__(self, label: str, stream: TextIO, every_seconds: float = 15.0):
        self.label, self.stream, self.every_seconds = label, stream, every_seconds
        self.started = self.printed = time.monotonic()
        self.first: int | None = None

    def update(self, done: int, total: int, unit: str, **numbers: float) -> None:
        """Report `done` of `total`; `numbers` are shown beside it."""
        now = time.monotonic()
        if self.first is None:  # after a resume, the rate counts only what this process did
            self.first, self.started = done, now
        if done < total and now - self.printed < self.every_seconds:
            return
        self.printed = now
        left = (now - self.started) * (total - done) / max(done - self.first, 1)
        shown = "".join(f", {name} {value:.3g}" for name, value in numbers.items())
        remaining = f", about {left:.0f} s left" if done < total else ""
        self.say(f"{done}/{total} {unit}{shown}{remaining}")

    def say(self, message: str) -> None:
        """Print one line under this job's label."""
        print(f"[{self.label}] {message}", file=self.stream, flush=True)


@contextmanager
def running(label: str, args: argparse.Namespace) -> Iterator[Progress]:
    """Run a job: threads set, output sent to the log, failure named on the terminal."""
    terminal = os.fdopen(os.dup(2), "w")
    if args.log:
        args.log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush(), sys.stderr.flush()
        log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
    progress = Progress(label, terminal)
    progress.say("started" + (f", log in {args.log}" if args.log else ""))
    try:
        set_threads(args.threads)
        yield progress
    except Exception as error:
        progress.say(f"failed: {error}")
        raise
    progress.say(f"done in {time.monotonic() - progress.started:.0f} s")


def set_threads(count: int) -> None:
    """Limit torch to `count` threads: two jobs of one thread beat one of two."""
    import torch  # here, so that jobs that need no torch do not pay for importing it

    torch.set_num_threads(count)


def device() -> str:
    """Where models run: the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def gpu_present() -> bool:
    """Whether this machine has an NVIDIA GPU, asked without importing torch."""
    return Path("/dev/nvidia0").exists()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; whatever was written there replaces `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.name}.tmp"
    )  # one name, so that what a killed job left is removed by the next
    _remove(temporary)
    try:
        yield temporary
    except BaseException:
        _remove(temporary)
        raise
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(temporary, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())
