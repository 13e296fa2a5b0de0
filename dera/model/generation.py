"""What the arguments of transformers' `generate` say about the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def batch_size_of(args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """Return the number of rows of the first tensor among the arguments, or 1 if there is none."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.shape[0]
    return 1


def completion_start_of(
    args: Sequence[Any], kwargs: dict[str, Any], is_encoder_decoder: bool
) -> int:
    """Return the column of the first token of the completions, padding counted.

    It is the length of the text that the decoder is given. A decoder that is given no text begins
    with one start token.
    """
    if is_encoder_decoder:
        ids = kwargs.get("decoder_input_ids")
    elif args:
        ids = args[0]
    else:
        ids = kwargs.get("inputs", kwargs.get("input_ids"))
    return 1 if ids is None else ids.shape[1]
