"""Families of models that cannot be mixed, or not in every way, because of what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache, cache_utils
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from dera.model.conventions import own_cache_kind
from dera.model.parts import Part

#: What a layer may keep without padding at the left of a row changing it: each token's keys and
#: values, or a state that takes in nothing where the attention mask is 0.
_KEPT_BY_TOKEN = {
    cache_utils.DynamicLayer,
    cache_utils.DynamicSlidingWindowLayer,
    cache_utils.DynamicIndexedLayer,
    cache_utils.LinearAttentionLayer,
    cache_utils.LinearAttentionAndFullAttentionLayer,
    cache_utils.LinearAttentionAndSlidingWindowAttentionLayer,
    cache_utils.DummyLayer,
}

#: Families whose scan over several tokens begins with an empty state, whatever the cache holds.
_FORGET_WHEN_CONTINUED = {"jamba", "zamba"}


def check_families(parts: Sequence[Part]) -> None:
    """Refuse models whose state of a text is not in a cache that has rows.

    Raises:
        ValueError: naming the part, its family and the reason.
    """
    for part in parts:
        reason = _reason(part)
        if reason is not None:
            raise ValueError(
                f"{part.name} is a {part.config.model_type} model, which {reason}: only models "
                "with attention and a past_key_values that holds all of their state can be mixed, "
                "as transformer and most hybrid models are (Llama, Qwen3-Next, Jamba)"
            )


def padded_only_at_the_end(parts: Sequence[Part]) -> list[str]:
    """Return the parts, with their families, that padding at the left of a row would change.

    Their layers keep a summary of several columns (DeepSeek-V4), and count padding among these.
    """
    return [
        f"{part.name} ({part.config.model_type})"
        for part in parts
        if own_cache_kind(part.base) is None and _layer_kinds(part) - _KEPT_BY_TOKEN
    ]


def keeps_recurrent_state(model: Any) -> bool:
    """Return whether a model keeps a state of a text that cannot be put back by some tokens.

    The last inputs of a convolution can be put back, and so can keys and values.

    Args:
        model: a transformers model, or anything else that predicts tokens.
    """
    if getattr(model, "_is_stateful", False) or own_cache_kind(model) is not None:
        return True
    config = getattr(model, "config", None)
    if config is None:
        return False
    layer_types = getattr(config.get_text_config(decoder=True), "layer_types", None) or []
    return bool({"linear_attention", "hybrid"} & set(layer_types))


def check_continuation(parts: Sequence[Part], past: int, new: int) -> None:
    """Refuse to read several tokens after cached ones with models that would forget the latter.

    Args:
        parts: the parts.
        past: how many tokens are in the cache.
        new: how many tokens are to be read.

    Raises:
        ValueError: naming the families.
    """
    families = {part.config.model_type for part in parts} & _FORGET_WHEN_CONTINUED
    if families and past > 0 and new > 1:
        raise ValueError(
            f"models of the families {sorted(families)} forget their state where several tokens "
            "are read after a cache: read one token at a time, or the whole text at once"
        )


def check_padding(names: Sequence[str], attention_mask: Tensor | None) -> None:
    """Refuse rows with padding before a token, where `padded_only_at_the_end` names a part.

    Args:
        names: what `padded_only_at_the_end` returned.
        attention_mask: 1 for tokens and 0 for padding, shape (batch, time).

    Raises:
        ValueError: naming the parts.
    """
    if not names or attention_mask is None or attention_mask.ndim != 2:
        return
    mask = attention_mask.bool()
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise ValueError(
            f"padding at the left of a row would change what {', '.join(names)} predicts, because "
            "it summarises columns and not tokens: read rows of one length at a time, without "
            "padding"
        )


def _reason(part: Part) -> str | None:
    """Return why a part cannot be mixed; None if it can."""
    if "past_key_values" not in part.known:
        return "keeps no past_key_values"
    if any(hasattr(module, "_setup_cache") for module in part.base.modules()):
        return "keeps the state of a text in its modules, where rows cannot be selected"
    if own_cache_kind(part.base) is not None:
        if part.config.layer_types[0] != "full_attention":
            return "has no attention in its first layer, where its cache counts its tokens"
        return None
    kinds = _layer_kinds(part)
    if kinds and all(_is_recurrent_only(kind) for kind in kinds):
        return "has no layer with attention"
    return None


def _layer_kinds(part: Part) -> set[type]:
    """Return the kinds of the layers of a part's cache."""
    config = part.config.get_text_config(decoder=True)
    return {type(layer) for layer in DynamicCache(config=config).layers}


def _is_recurrent_only(kind: type) -> bool:
    """Return whether layers of a kind keep a state, and no keys and values."""
    return issubclass(kind, LinearAttentionCacheLayerMixin) and not issubclass(
        kind, cache_utils.CacheLayerMixin
    )
