"""The key-value caches of several models decoded in step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, StaticCache

from dera.one_pass.one_pass import OnePassCache


class RealignedCache(Cache):
    """One cache for each part, which transformers' `generate` handles as one: whatever it does reaches all of them.

    Attributes:
        parts: the parts' caches, the reference's first; None for a part that was not run because lam leaves it out. Parts that
            are read in one pass have one cache.
    """

    def __init__(self, parts: Sequence[Cache | None]):
        super().__init__(layers=[])
        self.parts = list(parts)

    @classmethod
    def like(cls, template: Cache | None, configs: Sequence[Any]) -> RealignedCache:
        """Empty caches of the same kind and room as an empty `template`, laid out for each part's own architecture.

        Raises:
            ValueError: if `template` holds keys already, or is neither dynamic nor static.
        """
        if template is not None and template.get_seq_length() > 0:
            raise ValueError(
                "past_key_values was filled by another model: pass the one this model returned, or none"
            )
        return cls(
            [
                _empty(template, config.get_text_config(decoder=True), config.is_encoder_decoder)
                for config in configs
            ]
        )

    @property
    def filled(self) -> list[Cache]:
        return list({id(cache): cache for cache in self.parts if cache is not None}.values())

    @property
    def is_one_pass(self) -> bool:
        return any(isinstance(cache, OnePassCache) for cache in self.filled)

    def stack(self, running: Sequence[int], together: OnePassCache) -> bool:
        """Use one cache for these parts, all that are run, if the caches that stand there, empty, are the kind it replaces."""
        standing: list[Any] = [self.parts[i] for i in running]
        if any(
            type(each) not in (DynamicCache, OnePassCache) or each.offloading for each in standing
        ):
            return False
        self.parts = [together if i in running else None for i in range(len(self.parts))]
        return True

    def run_only(self, needed: Sequence[bool]) -> list[bool]:
        """Which parts to run: those needed, and once tokens are cached all that were run for them.

        Raises:
            ValueError: if a part is needed now that was not run for the tokens in the cache.
        """
        if not self.get_seq_length():
            self.parts = [
                cache if need else None for cache, need in zip(self.parts, needed, strict=True)
            ]
        run = [cache is not None for cache in self.parts]
        if any(need and not ran for need, ran in zip(needed, run, strict=True)):
            raise ValueError(
                "lam has changed since past_key_values was begun, and a model that had no share in the mixture now has one: "
                "begin with a lam that gives every model a share, or with output_parts=True, which runs all"
            )
        return run

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return max((int(cache.get_seq_length(layer_idx)) for cache in self.filled), default=0)

    def get_max_length(self, layer_idx: int | None = None) -> int:
        return min(cache.get_max_length(layer_idx) for cache in self.filled)

    def reset(self) -> None:
        for cache in self.filled:
            cache.reset()

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        for cache in self.filled:
            cache.reorder_cache(beam_idx)

    def crop(self, tokens_to_remove: int) -> None:
        for cache in self.filled:
            cache.crop(tokens_to_remove)

    def batch_repeat_interleave(self, repeats: int) -> None:
        for cache in self.filled:
            cache.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        for cache in self.filled:
            cache.batch_select_indices(indices)

    def activate_past_recording(self) -> None:
        for cache in self.filled:
            cache.activate_past_recording()

    @property
    def is_croppable(self) -> bool:
        return all(cache.is_croppable for cache in self.filled)

    @property
    def is_compileable(self) -> bool:
        """False: `generate` would build one mask for all parts, which may differ in their attention."""
        return False


def _empty(template: Cache | None, config: Any, is_encoder_decoder: bool) -> Cache:
    if isinstance(template, EncoderDecoderCache) or (template is None and is_encoder_decoder):
        mine = (
            None if template is None else template.self_attention_cache
        )  # an empty cache is false
        across = None if template is None else template.cross_attention_cache
        return EncoderDecoderCache(_empty(mine, config, False), _empty(across, config, False))
    if isinstance(template, StaticCache):
        room = max(layer.max_cache_len for layer in template.layers)  # type: ignore[union-attr]  # sliding ones have less
        return StaticCache(config=config, max_cache_len=room, offloading=template.offloading)
    if template is None or isinstance(template, DynamicCache):
        return DynamicCache(config=config, offloading=template is not None and template.offloading)
    raise ValueError(
        f"past_key_values must be a dynamic or a static cache, got {type(template).__name__}"
    )
