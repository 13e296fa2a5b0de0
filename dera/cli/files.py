"""What a command may write: never what it reads, and one process a file.

All of this is checked before anything is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dera.cli.lock import locked
from dera.cli.output import check_output, note

#: The names of the files that are written beside an output, the output itself included.
_WRITTEN = ("{}", "{}.partial", "{}.meta.json", ".{}.tmp", ".{}.meta.json.tmp", ".{}.lock")


@contextmanager
def claimed_output(args: argparse.Namespace) -> Iterator[None]:
    """Make the command's output safe to write, and keep other processes from writing it.

    Where the output is a symbolic link, `args.output` becomes the file that it leads to.

    Raises:
        ValueError: if the output cannot be written, if it is an input of the command, or if another
            process writes it.
    """
    if args.output is None:
        yield
        return
    if args.output.is_symlink():
        args.output = Path(os.path.realpath(args.output))
    check_output(args.output)
    check_not_an_input(args)
    with locked(args.output) as has_lock:
        if not has_lock:
            note(
                f"warning: the folder of {args.output} has no locks: see to it that no other "
                "process writes that file"
            )
        yield


def check_not_an_input(args: argparse.Namespace) -> None:
    """Refuse an output that is a file, or in a folder, that the command reads.

    Links are followed, and hard links count as the same file.

    Raises:
        ValueError: naming the output and the input.
    """
    output: Path = args.output
    written = [output.with_name(name.format(output.name)) for name in _WRITTEN]
    for option, read in _files_read(args):
        for path in written:
            if _same(path, read):
                beside = "" if path == output else f", where {path} is written too"
                raise ValueError(
                    f"--output {output} would destroy the {option} {read}{beside}: "
                    "name another file"
                )
    folder = output.absolute().parent
    for option, model in _model_folders(args):
        links = any(_same(path, file) for path in written for file in _files_of(model))
        if _same(folder, model) or links:
            raise ValueError(
                f"--output {output} is among the files of the {option} {model}: "
                "name a file in another folder"
            )


def _files_read(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield every file that the command reads, with what messages call it."""
    # Whatever option has a path is an input, except the output and the figure.
    for name, value in vars(args).items():
        if isinstance(value, Path) and name not in ("output", "plot"):
            yield f"input --{name.replace('_', '-').removesuffix('-file')}", value
    for path in _metric_files(getattr(args, "metric", None)):
        yield "metric's file", path
    # A stream is a file where the shell has redirected it.
    for name, descriptor in (("standard input", 0), ("standard output", 1)):
        path = Path(f"/dev/fd/{descriptor}")
        if path.is_file():
            yield f"file of {name},", path


def _metric_files(spec: str | None) -> list[Path]:
    """Return the files that may hold the metric, without importing it."""
    source = (spec or "").rpartition(":")[0]
    if not source or source.endswith(".py"):
        return [Path(source)] if source else []
    inside = source.replace(".", os.sep)
    folders = [Path(folder) for folder in ("", *sys.path)]
    return [folder / f"{inside}{end}" for folder in folders for end in (".py", "/__init__.py")]


def _model_folders(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the local folders of the models, with what messages call them."""
    for name in ("reference", "aligned"):
        folder = Path(getattr(args, name))
        if folder.is_dir():
            yield f"{name} model", folder
            base = _base_of(folder)
            if base is not None and base.is_dir():
                yield f"base of the {name} model,", base


def _base_of(folder: Path) -> Path | None:
    """Return the base that an adapter names; None for other models."""
    try:
        settings: Any = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = settings["base_model_name_or_path"]
        return Path(base) if base else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files_of(folder: Path) -> list[Path]:
    """Return a model's files. They may be links to files of other folders."""
    return [path for path in folder.iterdir() if path.is_file()]


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths are one file. What does not exist is no file."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # a ValueError for a NUL character
        return False
