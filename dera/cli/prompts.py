"""Prompts: read from where the user has them, and put in a chat template if asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def read_prompts(args: argparse.Namespace) -> list[str]:
    """The prompts of a command.

    Raises:
        ValueError: if there are none, one is blank, they come from two places, or a file cannot be understood.
        FileNotFoundError: if the file does not exist.
    """
    if args.system is not None and not args.chat:
        raise ValueError(f"--system {args.system!r} is a part of a chat: give --chat too")
    given = list(args.prompts)
    if given and args.prompts_file is not None:
        raise ValueError(
            f"prompts were given both as arguments ({given[0]!r}) and with --prompts {args.prompts_file}: choose one"
        )
    if given:
        blank = [i for i, prompt in enumerate(given) if not prompt.strip()]
        if blank:
            raise ValueError(f"prompt {blank[0] + 1} of {len(given)} is blank: {given[blank[0]]!r}")
        return given
    if args.prompts_file is not None:
        return _from_file(args.prompts_file, args.prompt_field)
    if sys.stdin.isatty():
        raise ValueError(
            "there are no prompts: give them as arguments, with --prompts FILE, or on standard input"
        )
    return _some(_lines(sys.stdin), "standard input")


def check_tokens(tokenizer: Any, prompts: Sequence[str]) -> None:
    """Refuse a prompt the tokenizer makes nothing of: there is nothing to continue."""
    for i, ids in enumerate(tokenizer(list(prompts))["input_ids"]):
        if not ids:
            raise ValueError(f"prompt {i + 1} of {len(prompts)} has no tokens: {prompts[i]!r}")


def _from_file(path: Path, field: str) -> list[str]:
    if path.suffix not in (".txt", ".jsonl"):
        raise ValueError(
            f"--prompts {path}: its name must end in .txt (one prompt a line) or .jsonl (an object a line)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"--prompts {path}: no such file")
    try:
        with path.open(encoding="utf-8-sig") as file:
            return _some(
                _lines(file) if path.suffix == ".txt" else _objects(file, path, field), str(path)
            )
    except UnicodeDecodeError as error:
        raise ValueError(f"--prompts {path} is not UTF-8 text: {error}") from error


def _lines(file: Iterable[str]) -> list[str]:
    return [line.rstrip("\n") for line in file if line.strip()]


def _objects(file: Iterable[str], path: Path, field: str) -> list[str]:
    found = []
    for i, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {i} is not JSON: {error}") from error
        if not isinstance(value, dict) or field not in value:
            has = (
                f"its fields are {sorted(value)}"
                if isinstance(value, dict)
                else "it is not an object"
            )
            raise ValueError(
                f"{path}, line {i} has no field {field!r} ({has}): name another with --prompt-field"
            )
        if not isinstance(value[field], str) or not value[field].strip():
            raise ValueError(
                f"{path}, line {i}: {field!r} must be a text that is not blank, got {value[field]!r}"
            )
        found.append(value[field])
    return found


def _some(prompts: list[str], source: str) -> list[str]:
    if not prompts:
        raise ValueError(f"there are no prompts in {source}")
    return prompts
