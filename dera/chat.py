"""Prompts as turns of a chat, for models that were trained on a chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Conversation(str):
    """A conversation as a prompt: its text is JSON, and a `ChatTokenizer` reads its turns.

    As a text it goes wherever prompts go. (A list in place of a text would be token ids.)

    Attributes:
        turns: the turns, each with "role" and "content".
    """

    turns: list[dict[str, Any]]

    def __new__(cls, turns: Sequence[Mapping[str, Any]]) -> Conversation:
        copied = [dict(turn) for turn in turns]
        conversation = super().__new__(cls, json.dumps(copied, ensure_ascii=False))
        conversation.turns = copied
        return conversation


class ChatTokenizer:
    """A tokenizer that reads each text as the user's turn of a chat, or a whole conversation.

    The library, metrics and outputs see what the user wrote, and only the models see the template.
    Everything else is passed on to the tokenizer that this one was made from.

    Args:
        tokenizer: a tokenizer with a chat template.
        name: what messages call the model that the tokenizer belongs to.
        system: text of a system turn before the other turns; no such turn when it is absent.
        template_arguments: what the chat template gets besides the turns, such as
            `{"enable_thinking": False}`.

    Raises:
        ValueError: if the tokenizer has no chat template.
    """

    def __init__(
        self,
        tokenizer: Any,
        name: str = "this model",
        system: str | None = None,
        template_arguments: Mapping[str, Any] | None = None,
    ):
        if not tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {name} has no chat template: use plain prompts, "
                "or save a tokenizer with a chat template beside the model"
            )
        self._tokenizer = tokenizer
        self._turns_before = [] if system is None else [{"role": "system", "content": system}]
        self._template_arguments = dict(template_arguments or {})

    def __call__(self, prompts: Sequence[str], **options: Any) -> Any:
        texts = [self.render(prompt) for prompt in prompts]
        # The template writes special tokens itself, so the tokenizer must not add them again.
        return self._tokenizer(texts, add_special_tokens=False, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def render(self, prompt: str) -> str:
        """Return the text that the model reads, from the template's first token to the last.

        Args:
            prompt: the user's turn, or a `Conversation`.

        Raises:
            ValueError: if the template refuses the turns, or there are two system messages.
        """
        said = [{"role": "user", "content": prompt}]
        if isinstance(prompt, Conversation):
            said = prompt.turns
        if self._turns_before and said and said[0].get("role") == "system":
            raise ValueError(
                f"the conversation begins with a system message of its own, {said[0]}: leave out "
                "the system message for all conversations (system=, --system), or this one"
            )
        turns = [*self._turns_before, *said]
        # A template may raise anything. A template that knows no system turn raises jinja's errors.
        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, **self._template_arguments
            )
        except Exception as error:
            raise ValueError(
                f"the chat template refuses the turns {turns}: {error}. Leave the system message "
                "out, or use plain prompts"
            ) from error


def prompt_tokenizer(folder: str | Path) -> Any:
    """Load a model's tokenizer as `for_prompts` returns it."""
    from transformers import AutoTokenizer  # here, because importing transformers takes seconds

    return for_prompts(AutoTokenizer.from_pretrained(folder))


def for_prompts(tokenizer: Any) -> Any:
    """Return the tokenizer that reads prompts: as turns of a chat if there is a chat template.

    Completions are read by the tokenizer itself.
    """
    return ChatTokenizer(tokenizer) if tokenizer.chat_template else tokenizer


def rendered(tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """Return prompts as the text that the model reads: in the chat template, if there is one."""
    if not tokenizer.chat_template:
        return list(prompts)
    chat = ChatTokenizer(tokenizer)
    return [chat.render(prompt) for prompt in prompts]
