"""The tokens that the mixture cannot say: those for which one of the models has no row."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel

#: A model that gives more probability than this to rows beyond the smallest table uses them.
USED = 0.01


def check_end_tokens(model: RealignedModel, tokenizer: Any = None) -> None:
    """Refuse an end token that the mixture cannot say, because then no text would end.

    Args:
        model: the realigned model.
        tokenizer: the reference's tokenizer, if there is one.

    Raises:
        ValueError: naming the token, who names it, and the table that ends before it.
    """
    ends = {
        "the aligned model's generation_config": getattr(
            model.generation_config, "eos_token_id", None
        )
    }
    if tokenizer is not None:
        ends["the tokenizer"] = tokenizer.eos_token_id
    sizes = {
        part.name: part.config.get_text_config(decoder=True).vocab_size for part in model.parts
    }
    for who, tokens in ends.items():
        for token in tokens if isinstance(tokens, (list, tuple)) else [tokens]:
            if isinstance(token, int) and token >= model.vocabulary_size:
                _refuse_end_token(who, token, sizes)


def _refuse_end_token(who: str, token: int, sizes: dict[str, int]) -> None:
    without = [name for name, size in sizes.items() if size <= token]
    largest = max(sizes.values())
    remedy = f"resize {without} with resize_token_embeddings({max(largest, token + 1)})"
    raise ValueError(
        f"{who} names {token} as an end token, but {without} have no row for it (the tables have "
        f"{sizes} rows), so the mixture could never say it and no text would end: {remedy}, or set "
        "another end token in generation_config.eos_token_id of the aligned model"
    )


def warn_of_used_rows(model: RealignedModel, alone: dict[str, Tensor]) -> None:
    """Warn of a model that gives probability to tokens which another model does not know.

    Rows beyond the smallest table are taken to be padding, and the mixture never says their tokens.

    Args:
        model: the realigned model.
        alone: for each part by its name its logits, shape (1, time, its vocabulary).
    """
    for name, logits in alone.items():
        cut = logits.float().softmax(-1)[..., model.vocabulary_size :]
        share = cut.sum(-1).max().item() if cut.numel() else 0.0
        if share > USED:
            warnings.warn(
                f"{name!r} gives up to {share:.0%} of its probability to tokens from "
                f"{model.vocabulary_size} on, for which another model has no row, so the mixture "
                "never says them: if they are real tokens and not padding, resize that model with "
                f"resize_token_embeddings({logits.shape[-1]})",
                stacklevel=4,
            )
