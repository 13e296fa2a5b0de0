"""Going on with some rows of a cache, whatever its layers keep for each row."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import Cache, EncoderDecoderCache


def select_rows(cache: Any, rows: Tensor) -> None:
    """Go on with these rows of a cache.

    Besides keys and values, a layer may keep a recurrent state, the last inputs of a convolution,
    or the keys of an index. Layers of transformers select all of these in `reorder_cache`, which
    beam search needs. `batch_select_indices` is absent from some layers, and in others it selects
    keys and values alone.

    Args:
        cache: a cache of transformers, or a `RealignedCache`. It is changed.
        rows: indices into the present rows, shape (rows that go on,). An index may occur more than
            once.
    """
    if isinstance(cache, EncoderDecoderCache):
        select_rows(cache.self_attention_cache, rows)
        select_rows(cache.cross_attention_cache, rows)
    elif type(cache).batch_select_indices is not Cache.batch_select_indices:
        cache.batch_select_indices(rows)  # this kind of cache knows itself what it keeps
    else:
        layers: list[Any] = cache.layers
        for layer in layers:
            layer.reorder_cache(rows)
