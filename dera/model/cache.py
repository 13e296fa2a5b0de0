"""The key-value caches of several models that decode in step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, StaticCache

from dera.model.conventions import own_cache_kind
from dera.model.parts import Part
from dera.model.row_selection import select_rows
from dera.one_pass.cache import DynamicOnePassCache, OnePassCache, StaticOnePassCache

if TYPE_CHECKING:
    from dera.one_pass.one_pass import OnePass


class RealignedCache(Cache):
    """One cache for each part. Whatever transformers' `generate` does to it reaches all of them.

    Attributes:
        parts: the parts' caches, the reference's first. A part that does not run, because it has
            no share in the mixture, has None. Parts that run in one pass share one cache.
    """

    def __init__(self, parts: Sequence[Cache | None]):
        super().__init__(layers=[])
        self.parts = list(parts)

    @classmethod
    def like(cls, template: Cache | None, parts: Sequence[Part]) -> RealignedCache:
        """Make an empty cache for each part, of the kind and size of an empty `template`.

        Args:
            template: the cache to take the kind and the size from. When it is absent, dynamic
                caches are made.
            parts: the parts.

        Raises:
            ValueError: if `template` holds keys already, or is neither dynamic nor static; or if a
                part has a kind of cache of its own and `template` is of another kind than dynamic.
        """
        if template is not None and template.get_seq_length() > 0:
            raise ValueError(
                "past_key_values was filled by another model: "
                "pass the one this model returned, or none"
            )
        return cls([_empty_for(template, part) for part in parts])

    @property
    def filled(self) -> list[Cache]:
        """The caches of the parts that run, each once."""
        by_id = {id(cache): cache for cache in self.parts if cache is not None}
        return list(by_id.values())

    @property
    def is_one_pass(self) -> bool:
        """Whether the parts share the cache of one pass."""
        return any(isinstance(cache, OnePassCache) for cache in self.filled)

    def share(self, indices: Sequence[int], one_pass: OnePass) -> bool:
        """Let all parts that run use one cache instead of their own empty ones, if it can be used.

        Args:
            indices: the parts that run.
            one_pass: what runs them in one pass, and makes its cache.

        Returns:
            Whether one cache is used from now on. Offloaded caches are not replaced.
        """
        caches: list[Any] = [self.parts[index] for index in indices]
        if any(cache.offloading for cache in caches):
            return False
        if all(type(cache) in (DynamicCache, DynamicOnePassCache) for cache in caches):
            length = None
        elif all(type(cache) in (StaticCache, StaticOnePassCache) for cache in caches):
            length = max(layer.max_cache_len for layer in caches[0].layers)
        else:
            return False
        shared = one_pass.empty_cache(len(indices), length)
        self.parts = [shared if index in indices else None for index in range(len(self.parts))]
        return True

    def run_only(self, needed: Sequence[bool]) -> list[bool]:
        """Return which parts must run.

        Before a token is cached these are the needed parts, and the caches of the others are
        dropped. Later they are all parts that have run so far, so that their caches keep up.

        Raises:
            ValueError: if a part is needed now that was not run for the tokens in the cache.
        """
        if not self.get_seq_length():
            self.parts = [
                cache if is_needed else None
                for cache, is_needed in zip(self.parts, needed, strict=True)
            ]
        run = [cache is not None for cache in self.parts]
        if any(is_needed and not runs for is_needed, runs in zip(needed, run, strict=True)):
            raise ValueError(
                "lam has changed since past_key_values was begun, and a model that had no share "
                "in the mixture now has one: begin with a lam that gives every model a share, or "
                "with output_parts=True, which runs all"
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
        self.batch_select_indices(beam_idx)

    def crop(self, tokens_to_remove: int) -> None:
        for cache in self.filled:
            cache.crop(tokens_to_remove)

    def batch_repeat_interleave(self, repeats: int) -> None:
        for cache in self.filled:
            cache.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        for cache in self.filled:
            select_rows(cache, indices)

    def activate_past_recording(self) -> None:
        for cache in self.filled:
            cache.activate_past_recording()

    @property
    def is_croppable(self) -> bool:
        return all(cache.is_croppable for cache in self.filled)

    @property
    def is_compileable(self) -> bool:
        """False: `generate` would build one mask for all parts, which may differ in attention."""
        return False


def realigned_cache(
    cache: Cache | None, use_cache: bool | None, parts: Sequence[Part]
) -> RealignedCache | None:
    """Return the cache of one call: the given one, a new one, or None if the call needs none.

    Args:
        cache: the cache that was passed to the call. A `RealignedCache` is used as it is. Any other
            must be empty, and says which kind to make.
        use_cache: whether to make a cache where none was passed.
        parts: the parts, each of which gets a cache.

    Raises:
        ValueError: where `RealignedCache.like` raises one.
    """
    if isinstance(cache, RealignedCache) or (cache is None and not use_cache):
        return cache
    return RealignedCache.like(cache, parts)


def _empty_for(template: Cache | None, part: Part) -> Cache:
    """Return an empty cache of the template's kind for one part, or one of the part's own kind."""
    own_kind = own_cache_kind(part.base)
    if own_kind is None:
        config = part.config
        return _empty(template, config.get_text_config(decoder=True), config.is_encoder_decoder)
    served = (DynamicCache, own_kind)
    if template is not None and (type(template) not in served or template.offloading):
        raise ValueError(
            f"{part.name} is a {part.config.model_type} model, which has a kind of cache of its "
            f"own, and a {type(template).__name__} was asked for: leave cache_implementation and "
            "past_key_values away"
        )
    return own_kind()


def _empty(template: Cache | None, config: Any, is_encoder_decoder: bool) -> Cache:
    """Return an empty cache of the template's kind for one architecture."""
    if isinstance(template, EncoderDecoderCache):
        return EncoderDecoderCache(
            _empty(template.self_attention_cache, config, False),
            _empty(template.cross_attention_cache, _without_window(config), False),
        )
    if template is None and is_encoder_decoder:
        return EncoderDecoderCache(
            _empty(None, config, False), _empty(None, _without_window(config), False)
        )
    if isinstance(template, StaticCache):
        # A layer with a sliding window has a shorter cache than the others, and a layer with a
        # recurrent state has no length.
        longest = max(getattr(layer, "max_cache_len", 0) for layer in template.layers)
        return StaticCache(config=config, max_cache_len=longest, offloading=template.offloading)
    if template is None or isinstance(template, DynamicCache):
        return DynamicCache(config=config, offloading=template is not None and template.offloading)
    raise ValueError(
        f"past_key_values must be a dynamic or a static cache, got {type(template).__name__}: "
        "pass one of these, or none"
    )


def _without_window(config: Any) -> Any:
    """Return a decoder's configuration for its cross-attention, which sees the whole source.

    The decoders of some families (T5Gemma) look back at their own text through a sliding window.
    """
    whole = copy.deepcopy(config)
    whole.sliding_window = None
    whole.layer_types = ["full_attention"] * whole.num_hidden_layers
    return whole
