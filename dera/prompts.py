"""Prompts as callers give them: texts, token ids or conversations, one of them or several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: A conversation: its messages, each with a role and a content.
Conversation = Sequence[Mapping[str, Any]]

#: A batch of prompts: all texts, all token ids, or all conversations. One text, one conversation or
#: one sequence of token ids is a batch of one prompt.
Prompts = str | Conversation | Sequence[str] | Sequence[Sequence[int]] | Sequence[Conversation]


def as_prompts(prompts: Any) -> list[Any]:
    """Return prompts as a list with an entry for each: a text, token ids, or a conversation.

    A text alone is one prompt and never a list of letters. The same holds for a conversation alone,
    and for token ids alone.

    Args:
        prompts: any `Prompts`; token ids may be tensors or arrays.

    Raises:
        TypeError: if they are none of these, or of several kinds.
    """
    # One prompt alone.
    if isinstance(prompts, str) or is_conversation(prompts):
        return [prompts]
    prompts = _plain(prompts)
    if isinstance(prompts, (Mapping, bytes)) or not hasattr(prompts, "__iter__"):
        raise TypeError(f"prompts must be a list, got {_shown(prompts)}: {_REMEDY}")
    listed = [_plain(prompt) for prompt in prompts]
    if listed and all(_is_token(prompt) for prompt in listed):
        listed = [listed]

    # Several prompts are all of one kind.
    kinds = [_kind(prompt) for prompt in listed]
    for number, kind in enumerate(kinds):
        if kind is None or kind != kinds[0]:
            found = _shown(listed[number])
            raise TypeError(f"prompt {number} of {len(listed)} is {found}: {_REMEDY}")
    if kinds and kinds[0] == "token ids":
        return [[int(token) for token in prompt] for prompt in listed]
    return listed


def check_any(prompts: Sequence[Any]) -> None:
    """Refuse an empty list of prompts.

    Raises:
        ValueError: if there is no prompt.
    """
    if not len(prompts):
        raise ValueError("there are no prompts: give one at least")


def is_conversation(prompt: Any) -> bool:
    """Return whether a prompt is a list of messages, each with a role."""
    if not isinstance(prompt, (list, tuple)) or not prompt:
        return False
    return all(isinstance(turn, Mapping) and "role" in turn for turn in prompt)


def key_of(prompt: Any) -> Any:
    """Return what is equal for equal prompts and can be looked up in a dictionary."""
    if isinstance(prompt, str):
        return prompt
    if is_conversation(prompt):
        return ("conversation", json.dumps(prompt, sort_keys=True, default=repr))
    return tuple(prompt)


_REMEDY = (
    "give a list in which all prompts are texts, all are lists of token ids, or all are "
    "conversations (lists of messages with a role and a content)"
)


def _kind(prompt: Any) -> str | None:
    """Return the kind of one prompt; None for what is no prompt."""
    if isinstance(prompt, str):
        return "text"
    if is_conversation(prompt):
        return "conversation"
    is_ids = isinstance(prompt, (list, tuple)) and all(map(_is_token, prompt))
    return "token ids" if is_ids else None


def _is_token(value: Any) -> bool:
    """Return whether a value is an integer of Python, torch or numpy."""
    return hasattr(value, "__index__")


def _plain(values: Any) -> Any:
    """Return the Python lists of a tensor, an array or a column of a data set."""
    return values.tolist() if hasattr(values, "tolist") else values


def _shown(value: Any) -> str:
    """Return a value as messages show it, cut after a few words."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
