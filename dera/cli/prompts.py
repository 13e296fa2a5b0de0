"""Prompts, read from where the user has them."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dera.chat import ConversationText

#: How much of a prompt or another value a message shows.
_SHOWN = 80


def read_prompts(args: argparse.Namespace) -> list[str]:
    """Return the prompts of a command, from its arguments, a file or standard input.

    With --chat a field of a .jsonl file may hold a conversation.

    Raises:
        ValueError: if there are no prompts, if one is blank or has half a character, if they come
            from two places, or if a file cannot be understood.
        FileNotFoundError: if the file does not exist.
    """
    check_chat(args)
    prompts = list(args.prompts)
    if prompts and args.prompts_file is not None:
        raise ValueError(
            f"prompts were given both as arguments ({prompts[0]!r}) and with "
            f"--prompts {args.prompts_file}: give them in one way"
        )
    if prompts:
        _check_not_blank(prompts)
        return _all_readable(prompts)
    if args.prompts_file is not None:
        return _all_readable(_from_file(args.prompts_file, args.prompt_field, args.chat))
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(
            "there are no prompts: give them as arguments, with --prompts FILE, "
            "or on standard input"
        )
    return _all_readable(_at_least_one(_lines(_standard_input()), "standard input"))


def check_chat(args: argparse.Namespace) -> None:
    """Refuse options of a chat where there is none, and make the system message readable.

    Raises:
        ValueError: naming the option.
    """
    if args.system is not None and not args.chat:
        raise ValueError(f"--system {args.system!r} begins a chat: give --chat too")
    if args.system is not None:
        args.system = readable(args.system, "the text of --system")
    _check_chat_options(args)


def check_tokens(tokenizer: Any, prompts: Sequence[str]) -> None:
    """Refuse a prompt without any token, which leaves nothing to continue.

    Raises:
        ValueError: naming the prompt.
    """
    for number, ids in enumerate(tokenizer(list(prompts))["input_ids"], start=1):
        if not ids:
            prompt = prompts[number - 1]
            raise ValueError(
                f"prompt {number} of {len(prompts)} has no tokens: {shown(prompt)}. Leave it out"
            )


def shown(value: Any) -> str:
    """Return a value as messages show it: in quotes, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _all_readable(prompts: Sequence[str]) -> list[str]:
    """Return prompts that every tokenizer and every file can take."""
    return [
        readable(prompt, f"prompt {number} of {len(prompts)}")
        for number, prompt in enumerate(prompts, start=1)
    ]


def readable(text: str, name: str) -> str:
    """Return a text of whole characters; messages call it `name`.

    Where the locale is not UTF-8, Python hands over an argument's bytes as lone surrogates. They
    are read as UTF-8 if they are UTF-8.

    Raises:
        ValueError: if the text has half a character, or a NUL character.
    """
    if "\0" in text:
        raise ValueError(
            f"{name} has a NUL character: {shown(text)}. Take it out, or save the file as UTF-8 if "
            "it is UTF-16"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        try:
            return os.fsencode(text).decode()
        except UnicodeError:
            half = text[error.start]
            raise ValueError(
                f"{name} has half a character, {half!r}, at position {error.start}: "
                f"{shown(text)}. Write the whole character in UTF-8, or take it out"
            ) from None
    return text


def _standard_input() -> Iterable[str]:
    """Return the lines of standard input, which is read as UTF-8 whatever the locale is."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:  # a program has put a stream of text in its place
        return sys.stdin
    try:
        return io.StringIO(buffer.read().decode("utf-8-sig"), newline=None)
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text, make it UTF-8: {error}") from None


def last_words(prompt: str) -> str:
    """Return a prompt as people are shown it: of a conversation, what was said last."""
    return prompt.turns[-1]["content"] if isinstance(prompt, ConversationText) else prompt


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
                f"prompt {number} of {len(prompts)} is blank: {shown(prompt)}. Leave it out"
            )


def _from_file(path: Path, field: str, chat: bool) -> list[str]:
    if path.suffix not in (".txt", ".jsonl"):
        raise ValueError(
            f"--prompts {path}: its name must end in .txt (one prompt a line) or .jsonl "
            "(a JSON object a line)"
        )
    if path.is_dir():
        raise ValueError(f"--prompts {path} is a folder: name a file in it")
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
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{place} is not JSON: {error}. Write a JSON object on each line"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(
            f"{place} has no field {field!r} (it is not an object): write a JSON object on each "
            "line"
        )
    if field not in value:
        raise ValueError(
            f"{place} has no field {field!r} (its fields are {shown(sorted(value))}): "
            "name another with --prompt-field"
        )
    prompt = value[field]
    if isinstance(prompt, list) and (chat or any(isinstance(turn, dict) for turn in prompt)):
        return _conversation(prompt, f"{place}: {field!r}", chat)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(
            f"{place}: {field!r} must be a text that is not blank, got {shown(prompt)}"
        )
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
    return ConversationText(turns)


def _at_least_one(prompts: list[str], source: str) -> list[str]:
    if not prompts:
        raise ValueError(f"there are no prompts in {source}: write at least one there")
    return prompts
