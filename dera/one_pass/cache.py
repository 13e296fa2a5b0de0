"""The key-value cache of one pass, which holds the rows of several parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


class OnePassCache(DynamicCache):
    """The keys and values of all parts in a batch. The rows of one part follow those of another.

    A caller chooses rows as if there were one part only. The choice is applied to the rows of every
    part.

    Args:
        config: the configuration of the base.
        number_of_parts: how many parts share the cache.
        first_wide_layer: the first layer that holds the rows of all parts. The layers below it hold
            the rows of one part, which are the same for all.
        maker: the number of the `OnePass` that the cache is for.
    """

    def __init__(self, config: Any, number_of_parts: int, first_wide_layer: int, maker: int):
        super().__init__(config=config)
        self.maker = maker
        self.number_of_parts = number_of_parts
        self.first_wide_layer = first_wide_layer

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these rows of each part."""
        self._apply_to_rows("batch_select_indices", indices)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Put the rows of each part into this order."""
        self._apply_to_rows("reorder_cache", beam_idx)

    def _apply_to_rows(self, method: str, rows: Tensor) -> None:
        layers: list[Any] = self.layers
        for index, layer in enumerate(layers):
            if not layer.is_initialized:
                continue
            layer_rows = rows
            if index >= self.first_wide_layer:
                batch = layer.keys.shape[0] // self.number_of_parts
                offsets = [part * batch for part in range(self.number_of_parts)]
                layer_rows = torch.cat([rows + offset for offset in offsets])
            getattr(layer, method)(layer_rows.to(layer.keys.device))
