"""Other ways to decode the mixture of two models, written as plainly as they are in use, to be timed beside ours."""

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


def generated(model: Any, inputs: Any, room: int, **options: Any) -> Tensor:
    """What transformers' `generate` samples from the model's own distribution after the prompts; shape (batch, tokens)."""
    output = model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=room, **options)
    return output[:, inputs["input_ids"].shape[1] :]


@torch.no_grad()
def two_caches(
    reference: Any, aligned: Any, inputs: Any, lam: float, room: int, ends: Tensor, pad: int
) -> Tensor:
    """The obvious loop: both models with a cache each, their logits mixed, one token sampled; shape (batch, tokens)."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    caches, drawn = (DynamicCache(), DynamicCache()), []
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    while len(drawn) < room and not ended.all():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits = [
            model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            for model, cache in zip((reference, aligned), caches, strict=True)
        ]
        mixed = logits[0].float() + lam * (logits[1].float() - logits[0].float())
        ids = torch.multinomial(mixed.softmax(-1), 1)
        ids[ended] = pad
        drawn.append(ids)
        ended |= torch.isin(ids[:, 0], ends)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return torch.cat(drawn, dim=1)


class MixingProcessor(LogitsProcessor):
    """The paper authors' way: the reference runs, with its own cache, in a logits processor of the aligned model's `generate`.

    As there, the reference gets neither padding mask nor positions, so that batches should be of prompts of one length.
    """

    def __init__(self, reference: Any, lam: float):
        self.reference, self.lam, self.cache = reference, lam, DynamicCache()

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        new = input_ids[:, self.cache.get_seq_length() :]
        logits = self.reference(new, past_key_values=self.cache, use_cache=True).logits[:, -1]
        return logits + self.lam * (scores - logits)


def with_processor(reference: Any, aligned: Any, inputs: Any, lam: float, room: int) -> Tensor:
    """`generate` of the aligned model with a `MixingProcessor`; shape (batch, tokens)."""
    return generated(
        aligned,
        inputs,
        room,
        logits_processor=LogitsProcessorList([MixingProcessor(reference, lam)]),
    )


class CachelessMixture(PreTrainedModel, GenerationMixin):
    """A model for `generate` whose forward mixes two models and keeps no cache.

    TRL's GeometricMixtureWrapper was made like this; TRL 1.16 has it no more.
    """

    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, reference: Any, aligned: Any, lam: float):
        super().__init__(aligned.config)
        self.reference, self.aligned, self.lam = reference, aligned, lam
        self.generation_config = aligned.generation_config

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Log-probabilities of the mixture after every token."""
        inputs = dict(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
        )
        reference, aligned = (model(**inputs).logits for model in (self.reference, self.aligned))
        return CausalLMOutputWithPast(
            logits=(reference + self.lam * (aligned - reference)).log_softmax(-1)
        )

    def generate_from(self, inputs: Any, room: int) -> Tensor:
        """Completions of shape (batch, tokens)."""
        return generated(self, inputs, room, use_cache=False)
