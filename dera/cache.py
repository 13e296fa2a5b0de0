"""The key-value cache of two models decoded in step."""

from __future__ import annotations

from transformers import Cache, DynamicCache, PreTrainedConfig


class PairCache(Cache):
    """Two caches that transformers' `generate` handles as one.

    `reference` and `aligned` are what the two models see; `layers` lists the layers of both, so that every
    operation `generate` performs on a cache (reordering beams, repeating or selecting rows, cropping) reaches both.
    """

    def __init__(self, reference: PreTrainedConfig, aligned: PreTrainedConfig):
        self.reference = DynamicCache(config=reference.get_text_config(decoder=True))
        self.aligned = DynamicCache(config=aligned.get_text_config(decoder=True))
        super().__init__(layers=[*self.reference.layers, *self.aligned.layers])
