"""Decoders of the mixture of two models as other projects write them.

They are timed beside this library's decoders.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast


def generated(model: Any, inputs: Any, max_new_tokens: int, **options: Any) -> Tensor:
    """Sample with transformers' `generate` from the model's own distribution.

    Returns:
        The completions, shape (batch, tokens).
    """
    output = model.generate(
        **inputs, do_sample=True, top_k=0, max_new_tokens=max_new_tokens, **options
    )
    return output[:, inputs["input_ids"].shape[1] :]


@torch.no_grad()
def two_caches(
    reference: Any,
    aligned: Any,
    inputs: Any,
    lam: float,
    max_new_tokens: int,
    ends: Tensor,
    pad: int,
) -> Tensor:
    """Sample with the obvious loop, which mixes the logits and draws one token at a time.

    Each model has a cache.

    Args:
        reference, aligned: the models.
        inputs: the prompts, padded at the left: `input_ids` and `attention_mask`.
        lam: the mixing weight.
        max_new_tokens: the longest completion.
        ends: the tokens that end a completion.
        pad: the token that follows an end.

    Returns:
        The completions, shape (batch, tokens).
    """
    ids = inputs["input_ids"]
    mask = inputs["attention_mask"]
    caches = DynamicCache(), DynamicCache()
    drawn: list[Tensor] = []
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    while len(drawn) < max_new_tokens and not ended.all():
        # Both models read what is new.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = []
        for model, cache in zip((reference, aligned), caches, strict=True):
            output = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            logits.append(output.logits[:, -1])

        # Their logits are mixed, and a token is drawn for each row.
        mixed = logits[0].float() + lam * (logits[1].float() - logits[0].float())
        ids = torch.multinomial(mixed.softmax(-1), 1)
        ids[ended] = pad
        drawn.append(ids)
        ended |= torch.isin(ids[:, 0], ends)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return torch.cat(drawn, dim=1)


class MixingProcessor(LogitsProcessor):
    """The way of the paper's authors: a logits processor of the aligned model's `generate`.

    The processor runs the reference with its own cache. As in the authors' code, the reference gets
    neither a padding mask nor positions, so all prompts of a batch should have the same length.
    """

    def __init__(self, reference: Any, lam: float):
        self.reference = reference
        self.lam = lam
        self.cache = DynamicCache()

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        unread = input_ids[:, self.cache.get_seq_length() :]
        output = self.reference(unread, past_key_values=self.cache, use_cache=True)
        logits = output.logits[:, -1]
        return logits + self.lam * (scores - logits)


def with_processor(
    reference: Any, aligned: Any, inputs: Any, lam: float, max_new_tokens: int
) -> Tensor:
    """Sample with the aligned model's `generate` and a `MixingProcessor`, shape (batch, tokens)."""
    processors = LogitsProcessorList([MixingProcessor(reference, lam)])
    return generated(aligned, inputs, max_new_tokens, logits_processor=processors)


class CachelessMixture(PreTrainedModel, GenerationMixin):
    """A model for `generate` whose forward mixes two models and keeps no cache.

    TRL's GeometricMixtureWrapper was written in this way. TRL 1.16 no longer has it.
    """

    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, reference: Any, aligned: Any, lam: float):
        super().__init__(aligned.config)
        self.reference = reference
        self.aligned = aligned
        self.lam = lam
        self.generation_config = aligned.generation_config

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Return log-probabilities of the mixture after every token."""
        inputs = dict(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
        )
        reference = self.reference(**inputs).logits
        aligned = self.aligned(**inputs).logits
        mixed = (reference + self.lam * (aligned - reference)).log_softmax(-1)
        return CausalLMOutputWithPast(logits=mixed)

    def generate_from(self, inputs: Any, max_new_tokens: int) -> Tensor:
        """Sample completions, shape (batch, tokens)."""
        return generated(self, inputs, max_new_tokens, use_cache=False)
