"""The key-value caches of one pass, which hold the rows of several parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, StaticCache


class OnePassCache(Cache):
    """The keys and values of all parts in a batch. The rows of one part follow those of another.

    A caller chooses rows as if there were one part only. The choice is applied to the rows of every
    part.

    Attributes:
        number_of_parts: how many parts share the cache.
        first_wide_layer: the first layer that holds the rows of all parts. The layers below it hold
            the rows of one part, which are the same for all.
        maker: the number of the `OnePass` that the cache is for.
    """

    number_of_parts: int
    first_wide_layer: int
    maker: int

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these rows of each part."""
        self.reorder_cache(indices)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Put the rows of each part into this order, in which a row may occur more than once."""
        layers: list[Any] = self.layers
        for index, layer in enumerate(layers):
            if not layer.is_initialized:
                continue
            layer_rows = beam_idx
            if index >= self.first_wide_layer:
                batch = layer.keys.shape[0] // self.number_of_parts
                offsets = [part * batch for part in range(self.number_of_parts)]
                layer_rows = torch.cat([beam_idx + offset for offset in offsets])
            layer.reorder_cache(layer_rows.to(layer.keys.device))


class DynamicOnePassCache(OnePassCache, DynamicCache):
    """A cache of one pass that grows with the text."""


class StaticOnePassCache(OnePassCache, StaticCache):
    """A cache of one pass whose tensors keep their size, so that a step can be compiled."""
