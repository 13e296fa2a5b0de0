"""The realigned model: a transformers model whose logits are the mixture of two others'."""

from __future__ import annotations

import copy
import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import CausalLMOutputWithPast

from dera.cache import PairCache
from dera.loading import load_pair
from dera.mixing import Lam, as_lam, lam_from_beta, mix_logits, positions_of


@dataclass
class RealignedOutput(CausalLMOutputWithPast):
    """transformers' own output, and the logits of both parts where they were asked for."""

    reference_logits: Tensor | None = None
    aligned_logits: Tensor | None = None


class RealignedModel(PreTrainedModel, GenerationMixin):
    """Decoding-time realignment of a decoder-only language model (paper, Proposition 2).

    The mixing happens in `forward`, so sampling, beams, streaming and likelihoods all see the realigned
    model. Rows of a batch may have different `lam`.

    Args:
        reference: the reference (SFT) model, or None when `aligned` is a PEFT model: its base with the
            adapter switched off is then the reference, and the base is held in memory once.
        aligned: the model aligned at strength `aligned_beta`.
        aligned_beta: that strength; needed only to call with `beta=` instead of `lam=`.
        lam: the mixing weight used when a call names none; 1 is the aligned model.

    Raises:
        ValueError: if `reference` is None and `aligned` is not a PEFT model, if either is an encoder-decoder, or if
            `lam` is not finite.
    """

    main_input_name = "input_ids"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(
        self,
        reference: PreTrainedModel | None,
        aligned: Any,  # a PreTrainedModel or a PeftModel, which share no typed base
        aligned_beta: float | None = None,
        lam: float = 1.0,
    ):
        if reference is None and not hasattr(aligned, "disable_adapter"):
            raise ValueError("reference may be None only when aligned is a PEFT model, whose base is then the reference")
        parts: list[Any] = [part for part in (reference, aligned) if part is not None]
        if any(part.config.is_encoder_decoder for part in parts):
            raise ValueError("encoder-decoder models are not supported: give two decoder-only models")
        config = copy.deepcopy(aligned.config)
        config.vocab_size = min(part.config.get_text_config().vocab_size for part in parts)
        super().__init__(config)
        self.reference: Any = reference
        self.aligned: Any = aligned
        self.aligned_beta = aligned_beta
        self.lam = float(as_lam(lam, 1))
        self.generation_config = copy.deepcopy(aligned.generation_config)
        self.eval()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        reference: str | PathLike,
        aligned: str | PathLike,
        *,
        aligned_beta: float | None = None,
        lam: float = 1.0,
        merge_adapter: bool = False,
        **kwargs: Any,
    ) -> RealignedModel:
        """Load a pair from folders or Hub ids; `aligned` may be a PEFT adapter trained on `reference`.

        Args:
            reference: the reference model.
            aligned: the aligned model, or an adapter on the reference.
            aligned_beta, lam: as for the constructor.
            merge_adapter: merge an adapter into a second copy of the base: faster decoding for twice the memory.
            **kwargs: passed to `AutoModelForCausalLM.from_pretrained` for every model loaded (`dtype`,
                `device_map`, ...). Weights are read from safetensors only and remote code never runs.

        Raises:
            ValueError: if the two have different tokenizers, or `trust_remote_code` is asked for.
        """
        return cls(*load_pair(reference, aligned, merge_adapter, **kwargs), aligned_beta=aligned_beta, lam=lam)

    def run_reference(self, **inputs: Any) -> Any:
        """Run the reference alone, with the base's adapter off where there is one copy of the base."""
        with nullcontext() if self.reference is not None else self.aligned.disable_adapter():
            return _run(self.reference or self.aligned, inputs)

    def run_aligned(self, **inputs: Any) -> Any:
        """Run the aligned model alone."""
        return _run(self.aligned, inputs)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        lam: Lam | None = None,
        output_parts: bool = False,
        **kwargs: Any,
    ) -> RealignedOutput:
        """Next-token logits of the realigned model (paper, Proposition 2).

        Args:
            input_ids: token ids, shape (batch, time); after the first call of a cached decode only the new ones.
            attention_mask: 1 for tokens and 0 for padding on either side, shape (batch, past + time).
            position_ids: shape (batch, time); counted from the attention mask when absent.
            past_key_values: the `PairCache` of an earlier call, or an empty cache.
            labels: token ids to score, -100 to ignore, shape (batch, time); shifted inside, as transformers does.
            use_cache: return a cache; off unless a cache is passed or this is True.
            logits_to_keep: compute logits for the last so many positions only; 0 means all.
            lam: mixing weight, one number or one a row; `self.lam` when absent.
            output_parts: also return the logits that were mixed.

        Returns:
            float32 `logits` of shape (batch, time, vocabulary), `loss` if labels are given, `past_key_values`, and
            `reference_logits` and `aligned_logits` of the same shape as `logits` if they were asked for.

        Raises:
            ValueError: on a `lam` that is not finite or has a wrong shape, or a cache another model filled.
        """
        batch_size, time = input_ids.shape
        weights = as_lam(self.lam if lam is None else lam, batch_size, input_ids.device)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = positions_of(attention_mask)[:, -time:]
        cache = self._pair_cache(past_key_values, use_cache)
        inputs = dict(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            logits_to_keep=logits_to_keep,
            use_cache=cache is not None,
            **kwargs,
        )
        reference = self.run_reference(**inputs, past_key_values=cache.reference if cache else None).logits
        aligned = self.run_aligned(**inputs, past_key_values=cache.aligned if cache else None).logits
        size = self.config.vocab_size  # a fine-tune's vocabulary may be padded with unused rows
        reference, aligned = reference[..., :size], aligned[..., :size]
        logits = mix_logits(reference, aligned, weights)
        return RealignedOutput(
            loss=None if labels is None else ForCausalLMLoss(logits, labels, vocab_size=size),
            logits=logits,
            past_key_values=cache,
            reference_logits=reference if output_parts else None,
            aligned_logits=aligned if output_parts else None,
        )

    @torch.no_grad()
    def generate(self, *args: Any, lam: Lam | None = None, beta: float | None = None, **kwargs: Any) -> Any:
        """transformers' `generate`, with the strength as `lam` (one number, or one a row) or as `beta`.

        Raises:
            ValueError: if both are given, or as `lam_from_beta` and `forward` say.
        """
        if beta is not None:
            if lam is not None:
                raise ValueError(f"give lam or beta, not both: lam={lam}, beta={beta}")
            lam = lam_from_beta(beta, self.aligned_beta)
        lam = torch.as_tensor(self.lam if lam is None else lam, dtype=torch.float32)
        # generate repeats tensors, one row after another, for beams and several return sequences
        return super().generate(*args, lam=lam if lam.ndim else float(lam), **kwargs)  # type: ignore[misc]

    def _pair_cache(self, cache: Cache | None, use_cache: bool | None) -> PairCache | None:
        if isinstance(cache, PairCache):
            return cache
        if cache is None and not use_cache:
            return None
        if cache is not None and not isinstance(cache, DynamicCache):
            raise ValueError(f"only dynamic caches are supported, got {type(cache).__name__}")
        if cache is not None and cache.get_seq_length() > 0:
            raise ValueError("past_key_values was filled by another model: pass the one this model returned, or none")
        return PairCache((self.reference or self.aligned).config, self.aligned.config)


def _run(part: Any, inputs: dict[str, Any]) -> Any:
    """Call a model with those of `inputs` that its forward knows (some take no position ids)."""
    base = part.get_base_model() if hasattr(part, "get_base_model") else part
    known = inspect.signature(base.forward).parameters
    return part(**{name: value for name, value in inputs.items() if name in known})
