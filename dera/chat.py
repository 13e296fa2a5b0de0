"""Prompts as turns of a chat, for models that were trained on a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ChatTokenizer:
    """A tokenizer that reads each text as the user's turn of a chat; in all else the tokenizer it was made from.

    So the library, metrics and outputs see what the user wrote, and only the models see the template.

    Args:
        tokenizer: one with a chat template.
        name: what messages call it.
        system: text of a system turn before the user's.

    Raises:
        ValueError: if the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, name: str = "this model", system: str | None = None):
        if not tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {name} has no chat template: use plain prompts, or save a tokenizer with one beside the model"
            )
        self._tokenizer = tokenizer
        self._before = [] if system is None else [{"role": "system", "content": system}]

    def __call__(self, prompts: Sequence[str], **options: Any) -> Any:
        # The template has written the special tokens already, so the tokenizer must not add them again.
        return self._tokenizer(
            [self._render(prompt) for prompt in prompts], add_special_tokens=False, **options
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def _render(self, prompt: str) -> str:
        turns = [*self._before, {"role": "user", "content": prompt}]
        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # whatever a template raises: those without a system turn raise jinja's own errors
            raise ValueError(f"the chat template refuses {turns}: {error}") from error
