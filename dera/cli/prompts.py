"""Prompts, read from where the user has them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dera.chat import Conversation


def read_prompts(args: argparse.Namespace) -> list[str]:
    """Return the prompts of a command, from its arguments, a file or standard input.

    With --chat a field of a .jsonl file may hold a conversation.

    Raises:
        ValueError: if there are no prompts, if one is blank, if they come from two places, or if a
            file cannot be understood.
        FileNotFoundError: if the file does not exist.
    """
    if args.system is not None and not args.chat:
        raise ValueError(f"--system {args.system!r} begins a chat: give --chat too")
    _check_chat_options(args)
    prompts = list(args.prompts)
    if prompts and args.prompts_file is not None:
        raise ValueError(
            f"prompts were given both as arguments ({prompts[0]!r}) and with "
            f"--prompts {args.prompts_file}: give them in one way"
        )
    if prompts:
        _check_not_blank(prompts)
        return prompts
    if args.prompts_file is not None:
        return _from_file(args.prompts_file, args.prompt_field, args.chat)
    if sys.stdin.isatty():
        raise ValueError(
            "there are no prompts: give them as arguments, with --prompts FILE, "
            "or on standard input"
        )
    return _at_least_one(_lines(sys.stdin), "standard input")


def check_tokens(tokenizer: Any, prompts: Sequence[str]) -> None:
    """Refuse a prompt without any token, which leaves nothing to continue.

    Raises:
        ValueError: naming the prompt.
    """
    for number, ids in enumerate(tokenizer(list(prompts))["input_ids"], start=1):
        if not ids:
            prompt = prompts[number - 1]
            raise ValueError(
                f"prompt {number} of {len(prompts)} has no tokens: {prompt!r}. Leave it out"
            )


def last_words(prompt: str) -> str:
    """Return a prompt as people are shown it: of a conversation, what was said last."""
    return prompt.turns[-1]["content"] if isinstance(prompt, Conversation) else prompt


def _check_chat_options(args: argparse.Namespace) -> None:
    """Refuse options of the chat template where no template is used."""
    if args.chat:
        return
    if args.chat_template is not None:
        raise ValueError(f"--chat-template {args.chat_template} chooses a template: give --chat")
    if args.template_arguments is not None:
        raise ValueError(
            f"--template-arguments {json.dumps(args.template_arguments)} are for a chat template: "
            "give --chat too"
        )


def _check_not_blank(prompts: list[str]) -> None:
    for number, prompt in enumerate(prompts, start=1):
        if not prompt.strip():
            raise ValueError(
                f"prompt {number} of {len(prompts)} is blank: {prompt!r}. Leave it out"
            )


def _from_file(path: Path, field: str, chat: bool) -> list[str]:
    if path.suffix not in (".txt", ".jsonl"):
        raise ValueError(
            f"--prompts {path}: its name must end in .txt (one prompt a line) or .jsonl "
            "(a JSON object a line)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"--prompts {path}: no such file")
    try:
        with path.open(encoding="utf-8-sig") as file:
            if path.suffix == ".txt":
                prompts: list[str] = list(_lines(file))
            else:
                prompts = _objects(file, path, field, chat)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--prompts {path} is not UTF-8 text, save it as UTF-8: {error}"
        ) from error
    return _at_least_one(prompts, str(path))


def _lines(file: Iterable[str]) -> list[str]:
    """Return the lines that are not blank."""
    return [line.rstrip("\n") for line in file if line.strip()]


def _objects(file: Iterable[str], path: Path, field: str, chat: bool) -> list[str]:
    """Return one field of the JSON object on each line that is not blank."""
    prompts = []
    for number, line in enumerate(file, start=1):
        if line.strip():
            prompts.append(_field_of(line, f"{path}, line {number}", field, chat))
    return prompts


def _field_of(line: str, place: str, field: str, chat: bool) -> str:
    """Return one field of the JSON object in `line`; messages call the line `place`."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{place} is not JSON: {error}. Write a JSON object on each line"
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{place} has no field {field!r} (it is not an object): write a JSON object on each "
            "line"
        )
    if field not in value:
        raise ValueError(
            f"{place} has no field {field!r} (its fields are {sorted(value)}): "
            "name another with --prompt-field"
        )
    prompt = value[field]
    if isinstance(prompt, list):
        return _conversation(prompt, f"{place}: {field!r}", chat)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"{place}: {field!r} must be a text that is not blank, got {prompt!r}")
    return prompt


def _conversation(turns: list[Any], place: str, chat: bool) -> str:
    """Return a list of turns; messages call it `place`.

    Raises:
        ValueError: if it is no conversation that a user has the last word in, or no chat template
            is used.
    """
    if not chat:
        raise ValueError(f"{place} is a list of turns, which only a chat model reads: give --chat")
    for turn in turns:
        is_turn = isinstance(turn, dict) and isinstance(turn.get("content"), str)
        if not is_turn or not isinstance(turn.get("role"), str):
            raise ValueError(
                f"{place} has a turn {turn!r}: write each turn as "
                '{"role": "user", "content": "..."}'
            )
    if not turns or turns[-1]["role"] == "assistant":
        raise ValueError(
            f"{place} must end with a turn that the model answers: end it with a user's turn"
        )
    return Conversation(turns)


def _at_least_one(prompts: list[str], source: str) -> list[str]:
    if not prompts:
        raise ValueError(f"there are no prompts in {source}: write at least one there")
    return prompts
