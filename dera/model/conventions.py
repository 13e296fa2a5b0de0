"""What families of models do each in their own way: positions, labels, and caches of their own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from dera.model.padding import positions_of
from dera.model.parts import Part


def first_position(model: Any) -> int:
    """Return the position id of a text's first token.

    It is 0 for most families. RoBERTa and its relatives begin after the id of the padding token.

    Args:
        model: a transformers model, or anything else, for which it is 0.
    """
    known = getattr(model, "first_position", None)
    if known is not None or not isinstance(model, nn.Module):
        return known or 0
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return 0  # its forward takes no position ids
    modules: list[Any] = list(model.modules())
    for module in modules:
        if hasattr(module, "create_position_ids_from_input_ids"):
            return int(module.padding_idx) + 1
    return 0


def shared_first_position(parts: Sequence[Part]) -> int:
    """Return the position id of a text's first token, which must be the same for all parts.

    Raises:
        ValueError: naming the position of each part.
    """
    positions = {part.name: first_position(part.base) for part in parts}
    if len(set(positions.values())) > 1:
        raise ValueError(
            f"the models give a text's first token different position ids, {positions}: mix models "
            "that count alike, which models of one family with one padding token do"
        )
    return next(iter(positions.values()))


def position_ids_for(model: Any, attention_mask: Tensor) -> Tensor:
    """Return the position ids of the tokens of padded rows, as a model counts them.

    Args:
        model: any transformers language model, a `RealignedModel` included.
        attention_mask: 1 for tokens and 0 for padding, shape (batch, time).

    Returns:
        Int64 of the same shape.
    """
    return positions_of(attention_mask) + first_position(model)


def decoder_ids_from_labels(model: Any, labels: Tensor) -> Tensor:
    """Return what an encoder-decoder's decoder reads to predict labels, as the family makes it.

    Most families put the decoder's start token before the labels, and leave out the last label.

    Args:
        model: the encoder-decoder.
        labels: token ids, -100 to ignore, shape (batch, time).

    Returns:
        Token ids of the same shape.

    Raises:
        ValueError: if the configuration names no start token or no padding token.
    """
    for name in ("prepare_decoder_input_ids_from_labels", "_shift_right"):
        if hasattr(model, name):
            return getattr(model, name)(labels)
    config = model.config
    start, pad = config.decoder_start_token_id, config.pad_token_id
    if start is None or pad is None:
        raise ValueError(
            "labels need a decoder_start_token_id and a pad_token_id in the configuration of the "
            f"{config.model_type} model, which has {start} and {pad}: set both there, or pass "
            "decoder_input_ids"
        )
    starts = labels.new_full((len(labels), 1), start)
    ids = torch.cat([starts, labels[:, :-1]], dim=1)
    return ids.masked_fill(ids == -100, pad)


def decoder_mask_from_labels(model: Any, decoder_ids: Tensor) -> Tensor | None:
    """Return the mask that a family makes for the decoder's tokens that come from labels, or None.

    A model that was put together from an encoder and a decoder masks what stands for an ignored
    label. Other families do not.

    Args:
        model: the encoder-decoder.
        decoder_ids: what `decoder_ids_from_labels` returned, shape (batch, time).
    """
    if model.config.model_type != "encoder-decoder":
        return None
    return (decoder_ids != model.config.pad_token_id).long()


def encoder_size(model: Any) -> int:
    """Return the number of features of the states that an encoder-decoder's encoder returns."""
    return model.get_encoder().config.get_text_config().hidden_size


def own_cache_kind(model: Any) -> type[Cache] | None:
    """Return the kind of cache that a model's family defines for itself (MiniMax), or None.

    Such a family refuses the common kinds.
    """
    return _cache_kind_of(type(model).__module__)


@cache
def _cache_kind_of(module: str) -> type[Cache] | None:
    """Return the kind of cache that a module defines, or None."""
    for _, kind in inspect.getmembers(sys.modules[module], inspect.isclass):
        if issubclass(kind, Cache) and kind.__module__ == module:
            return kind
    return None
