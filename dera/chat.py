"""Prompts as turns of a chat, for models that were trained on a chat template."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dera.prompts import Conversation, Prompts, as_prompts, is_conversation

#: Attributes of `ChatTokenizer` itself. All others are the tokenizer's.
_OWN = ("_tokenizer", "_turns_before", "_template_arguments")
#: What transformers' `apply_chat_template` takes for the template, whatever the template says.
_OF_ALL_TEMPLATES = ("chat_template", "tools", "documents", "continue_final_message")


class ConversationText(str):
    """A conversation as a prompt: its text is JSON, and a `ChatTokenizer` reads its turns.

    As a text it goes wherever prompts go, into files too.

    Attributes:
        turns: the turns, each with "role" and "content".
    """

    turns: list[dict[str, Any]]

    def __new__(cls, turns: Sequence[Mapping[str, Any]]) -> ConversationText:
        copied = [dict(turn) for turn in turns]
        conversation = super().__new__(cls, json.dumps(copied, ensure_ascii=False))
        conversation.turns = copied
        return conversation


class ChatTokenizer:
    """A tokenizer that reads each text as the user's turn of a chat, or a whole conversation.

    A conversation, which is a list of messages, is read as it is. Both end with the template's
    opening of the assistant's turn.

    The library, metrics and outputs see what the user wrote, and only the models see the template.
    Everything else is that of the tokenizer that this one was made from: an attribute that is set
    here, such as `pad_token`, is set there.

    Args:
        tokenizer: a tokenizer with a chat template.
        name: what messages call the model that the tokenizer belongs to.
        system: text of a system turn before the user's turn; no such turn when it is absent.
        **template_arguments: arguments of the template, for example `enable_thinking=False`; and
            `tools`, `documents`, `chat_template` or `continue_final_message` of transformers'
            `apply_chat_template`. With `continue_final_message=True` the last message is continued
            instead of answered.

    Raises:
        ValueError: if the tokenizer has no chat template, or the template does not know an
            argument.
    """

    def __init__(
        self,
        tokenizer: Any,
        name: str = "this model",
        system: str | None = None,
        **template_arguments: Any,
    ):
        if not (tokenizer.chat_template or template_arguments.get("chat_template")):
            raise ValueError(
                f"the tokenizer of {name} has no chat template: use plain prompts, "
                "or save a tokenizer with a chat template beside the model"
            )
        self._tokenizer = tokenizer
        self._turns_before = [] if system is None else [{"role": "system", "content": system}]
        self._template_arguments: dict[str, Any] = {}
        self._check_template_arguments(template_arguments)
        self._template_arguments = template_arguments

    def __call__(self, text: Prompts, **options: Any) -> Any:
        """Return what the tokenizer makes of the prompts in the template.

        As with any tokenizer, one text or one conversation gives the ids of one row, and a list of
        them gives a list of rows.

        Args:
            text: texts or conversations, one or several.
            **options: options of the tokenizer, and arguments of the template for this call.

        Raises:
            ValueError: if the template refuses the turns or does not know an argument, or if the
                tokenizer is to add special tokens, which the template writes itself.
            TypeError: if the prompts are neither texts nor conversations.
        """
        if options.pop("add_special_tokens", None):
            raise ValueError(
                "add_special_tokens=True would write special tokens twice, because the chat "
                "template writes them itself: leave it out"
            )
        known = inspect.signature(type(self._tokenizer).__call__).parameters
        of_template = {key: options.pop(key) for key in list(options) if key not in known}
        is_one = isinstance(text, str) or is_conversation(text)
        texts = [self.render(prompt, **of_template) for prompt in as_prompts(text)]
        return self._tokenizer(texts[0] if is_one else texts, add_special_tokens=False, **options)

    def __getattr__(self, name: str) -> Any:
        # A copy that is being made has no tokenizer yet, and copying asks for special methods.
        if name in _OWN or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return getattr(self._tokenizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._tokenizer, name, value)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def render(self, prompt: str | Conversation, **template_arguments: Any) -> str:
        """Return the text that the model reads, from the template's first token to the last.

        Args:
            prompt: the user's turn, or a conversation.
            **template_arguments: as for the constructor, whose own they replace.

        Raises:
            ValueError: if the template refuses the turns, if a conversation has a system message
                beside that of this tokenizer, or if the template does not know an argument.
            TypeError: if the prompt is neither a text nor a conversation.
        """
        self._check_template_arguments(template_arguments)
        arguments = {**self._template_arguments, **template_arguments}
        turns = [*self._turns_before, *_turns_of(prompt)]
        if self._turns_before and any(turn["role"] == "system" for turn in turns[1:]):
            raise ValueError(
                f"a conversation has a system message of its own, and so has this tokenizer: "
                f"{turns[:2]}. Leave one of the two out"
            )
        # A template may raise anything. A template that knows no system turn raises jinja's errors.
        opens_a_turn = not arguments.get("continue_final_message")
        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=opens_a_turn, **arguments
            )
        except Exception as error:
            raise ValueError(
                f"the chat template refuses the turns {turns}: {error}. Leave the system message "
                "out, or use plain prompts"
            ) from error

    def _check_template_arguments(self, arguments: dict[str, Any]) -> None:
        """Refuse arguments that the template nowhere mentions, such as misspelt ones.

        Raises:
            ValueError: naming the argument.
        """
        own = self._template_arguments.get("chat_template")
        template = arguments.get("chat_template") or own or self._tokenizer.chat_template
        for name in arguments:
            if name not in _OF_ALL_TEMPLATES and not re.search(rf"\b{name}\b", str(template)):
                raise ValueError(
                    f"neither the tokenizer nor its chat template knows {name}=: correct its "
                    "spelling, or leave it out"
                )


def prompt_tokenizer(folder: str | Path) -> Any:
    """Load a model's tokenizer as `for_prompts` returns it."""
    from transformers import AutoTokenizer  # here, because importing transformers takes seconds

    return for_prompts(AutoTokenizer.from_pretrained(folder))


def for_prompts(tokenizer: Any) -> Any:
    """Return the tokenizer that reads prompts: as turns of a chat if there is a chat template.

    Completions are read by the tokenizer itself.
    """
    return ChatTokenizer(tokenizer) if tokenizer.chat_template else tokenizer


def rendered(tokenizer: Any, prompts: str | Sequence[str]) -> list[str]:
    """Return prompts as the text that the model reads: in the chat template, if there is one."""
    listed = as_prompts(prompts)
    if not tokenizer.chat_template:
        return listed
    chat = ChatTokenizer(tokenizer)
    return [chat.render(prompt) for prompt in listed]


def _turns_of(prompt: str | Conversation) -> list[Any]:
    """Return a prompt as turns: a text is the user's turn."""
    if isinstance(prompt, ConversationText):
        return list(prompt.turns)
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if is_conversation(prompt):
        return list(prompt)
    raise TypeError(
        f"a prompt of a chat is a text or a list of messages with a role, got {prompt!r}: "
        "give one of these"
    )
