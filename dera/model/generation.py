"""transformers' `generate` for a realigned model: the strength as an argument, and a cache for each part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, GenerationMixin

from dera.model.cache import RealignedCache
from dera.model.parts import Part
from dera.speculative.loop import Speculation, speculate
from dera.speculative.unsupported import as_keywords, serves
from dera.weights import Lam, as_lam, lam_from_beta


class RealignedGeneration(GenerationMixin):
    """What `RealignedModel` adds to and changes of transformers' generation."""

    config: Any
    parts: list[Part]
    names: list[str]
    aligned_beta: float | None
    lam: Lam | None
    last_speculation: Speculation | None = None

    @torch.no_grad()
    def generate(
        self,
        *args: Any,
        lam: Lam | None = None,
        beta: float | None = None,
        speculative: bool = False,
        **kwargs: Any,
    ) -> Any:
        """transformers' `generate`, with the strength as `lam` (any `dera.weights.Lam`) or as `beta`.

        With `speculative`, one of the models drafts several tokens and the others verify them in one pass: fewer passes for
        samples of exactly the same distribution, and the same greedy text, up to rounding. What it did is then in
        `last_speculation`. Where it does not serve (beams, encoder-decoders, ...) it warns, names the reason, and decodes plainly.
        A base and its adapters are read in one pass without it, and it changes nothing there.

        Raises:
            ValueError: if both are given, or as `lam_from_beta` and `forward` say.
        """
        lam = self.strength(lam, beta)
        ids = args[0] if args else kwargs.get("inputs", kwargs.get("input_ids"))
        if self.config.is_encoder_decoder:
            ids = kwargs.get("decoder_input_ids")
        if callable(lam):
            kwargs["completion_start"] = 1 if ids is None else ids.shape[1]
        elif not isinstance(lam, (int, float)):
            rows = next(
                (
                    value.shape[0]
                    for value in (*args, *kwargs.values())
                    if isinstance(value, Tensor)
                ),
                1,
            )
            # a tensor: generate repeats those, one row after another, for beams and several return sequences
            lam = as_lam(lam, rows, names=self.names)
        self.last_speculation = None
        if speculative:
            args, kwargs = (), as_keywords(args, kwargs)
            if serves(self, lam, kwargs):
                kwargs["custom_generate"] = speculate
        return super().generate(*args, lam=lam, **kwargs)  # type: ignore[misc]

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: Any, *args: Any, **kwargs: Any
    ) -> None:  # type: ignore[override]
        """Let transformers choose the kind of cache, then make one of that kind for each part."""
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)  # type: ignore[misc]
        chosen = model_kwargs.get("past_key_values")
        if chosen is not None:
            model_kwargs["past_key_values"] = self._own_cache(chosen, True)

    def _get_candidate_generator(
        self, *args: Any, model_kwargs: dict[str, Any], **kwargs: Any
    ) -> Any:  # type: ignore[override]
        """An assistant that drafts tokens knows no lam."""
        kept = {
            name: value
            for name, value in model_kwargs.items()
            if name not in ("lam", "completion_start")
        }
        return super()._get_candidate_generator(*args, model_kwargs=kept, **kwargs)  # type: ignore[misc]

    def _own_cache(self, cache: Cache | None, use_cache: bool | None) -> RealignedCache | None:
        if isinstance(cache, RealignedCache) or (cache is None and not use_cache):
            return cache
        return RealignedCache.like(cache, [part.config for part in self.parts])

    def strength(self, lam: Lam | None, beta: float | None) -> Lam:
        """The mixing weight meant by `lam` or `beta`, or the model's own when neither is given.

        Raises:
            ValueError: if both are given, `beta` for several aligned models, or nothing says what lam is.
        """
        if beta is not None:
            if lam is not None:
                raise ValueError(f"give lam or beta, not both: lam={lam}, beta={beta}")
            if len(self.names) > 1:
                raise ValueError(
                    f"beta= is for one aligned model, not for {self.names}: give lam= for each"
                )
            return lam_from_beta(beta, self.aligned_beta)
        if lam is None:
            lam = self.lam
        if lam is None:
            raise ValueError(
                f"lam= is needed: one number for each of the aligned models {self.names}"
            )
        return lam
