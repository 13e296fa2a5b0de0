"""An answer that is printed word by word, and kept."""

from __future__ import annotations

from typing import Any

from transformers import TextStreamer


class AnswerStreamer(TextStreamer):
    """Prints an answer while it is written.

    Args:
        tokenizer: the model's tokenizer.

    Attributes:
        text: what has been printed so far.
    """

    def __init__(self, tokenizer: Any):
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.text = ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print a piece of the answer, without a line break at its end."""
        self.text += text
        print(text, end="", flush=True)
