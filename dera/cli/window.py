"""How long a text the models can read, from their configurations alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from dera.cli.prompts import shown

#: These models number positions from behind their padding token's id.
_NUMBER_FROM_PADDING = (
    "camembert",
    "data2vec-text",
    "longformer",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)


def check_window(args: argparse.Namespace, tokenizer: Any, prompts: Sequence[str]) -> None:
    """Refuse prompts that are too long for either model, together with the new tokens.

    Raises:
        ValueError: naming the longest prompt, the model and how much it can read.
    """
    # Find the longest prompt.
    lengths = [len(ids) for ids in tokenizer(list(prompts))["input_ids"]]
    longest = max(lengths)
    number = lengths.index(longest) + 1
    prompt = f"prompt {number} of {len(prompts)} ({shown(prompts[number - 1])})"

    # Compare it with the window of each model.
    for path in (args.reference, args.aligned):
        config = _config_of(path)
        if config is None:
            continue
        if config.is_encoder_decoder:
            # The encoder reads the prompt, and the decoder its start token and the new tokens.
            encoder, decoder = _window(config, "encoder"), _window(config, "decoder")
            _check_prompt(longest, encoder, prompt, path)
            _check_new_tokens(args.max_new_tokens, decoder, 1, "the decoder's start token", path)
        else:
            window = _window(config, "text")
            _check_prompt(longest + 1, window, prompt, path)
            _check_new_tokens(args.max_new_tokens, window, longest, prompt, path)


def _check_prompt(needed: int, window: int | None, prompt: str, path: str) -> None:
    if window is not None and needed > window:
        raise ValueError(
            f"{prompt} is too long for {path}, which can read {window} tokens at a time: "
            "shorten it, or leave it out"
        )


def _check_new_tokens(new: int, window: int | None, before: int, what: str, path: str) -> None:
    if window is not None and before + new > window:
        raise ValueError(
            f"{path} can read {window} tokens at a time, and {what} has {before} of them: "
            f"give at most --max-new-tokens {window - before}, not {new}"
        )


def _config_of(path: str) -> Any:
    """Return a model's configuration; None for an adapter, which reads what its base does."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError):
        return None


def _window(config: Any, part: str) -> int | None:
    """Return how many tokens a part of a model can read; None if there is no limit.

    Args:
        config: the configuration of the whole model.
        part: "encoder", "decoder", or "text" for the language model of a decoder-only model.
    """
    own = config.get_text_config() if part == "text" else getattr(config, part, config)
    # Dynamic scaling of rotary positions is made for texts beyond the window.
    if "dynamic" in str(getattr(own, "rope_parameters", "")):
        return None
    names = (f"max_{part}_position_embeddings", "max_position_embeddings", "max_seq_len")
    windows = [getattr(own, name, None) for name in names]
    window = next((value for value in windows if isinstance(value, int) and value > 0), None)
    if window is not None and own.model_type in _NUMBER_FROM_PADDING:
        window -= (own.pad_token_id or 0) + 1
    return window
