"""Classifier-free guidance, whose second text is read by the same mixture as the first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)

from dera.weights import Lam


class Guidance(LogitsProcessor):
    """Moves away from what the model would write after another prompt (Sanchez et al. 2023).

    The scores are `u + scale * (c - u)`. Here c are the log-probabilities after the prompt, and u
    those after the unconditional prompt and the same completion.

    Args:
        model: the realigned model.
        scale: how far to go; at 1 nothing changes.
        lam: the mixing weight of the call, one number or one for each row.
        width: how many columns of the text are the prompt.
        ids: the unconditional prompts, shape (1, time) or (batch, time). When absent, each is the
            last token of the row's prompt.
        mask: 1 for their tokens and 0 for padding, of the same shape.
        use_cache: read each token of the second text once. Where rows change places (beams) or
            drafts are taken back, the text is read anew.
    """

    def __init__(
        self,
        model: Any,
        scale: float,
        lam: Lam,
        width: int,
        ids: Tensor | None = None,
        mask: Tensor | None = None,
        use_cache: bool = True,
    ):
        self.model = model
        self.scale = scale
        self.lam = lam
        self.width = width
        self.ids = ids
        self.mask = mask
        self.use_cache = use_cache
        self._read: Tensor | None = None
        self._cache: Any = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        conditional = scores.log_softmax(-1)
        if self.scale == 1:
            return conditional
        unconditional = self._logits(input_ids).log_softmax(-1).to(scores.device)
        guided = unconditional + self.scale * (conditional - unconditional)
        return guided.masked_fill(conditional.isneginf(), -torch.inf)

    def _logits(self, input_ids: Tensor) -> Tensor:
        """Return the logits after each row's second text, shape (rows, vocabulary)."""
        # The second text is the unconditional prompt and the completion so far.
        ids, mask = self._prompts(input_ids)
        start = ids.shape[1]
        completion = input_ids[:, self.width :]
        text = torch.cat([ids, completion], dim=1)
        mask = torch.cat([mask, torch.ones_like(completion)], dim=1)

        # Go on after what has been read, if the texts have grown by a token and by nothing else.
        goes_on = self._read is not None and torch.equal(self._read, text[:, :-1])
        unread = text[:, -1:] if goes_on else text
        output = self.model(
            unread,
            attention_mask=mask,
            past_key_values=self._cache if goes_on else None,
            use_cache=self.use_cache,
            logits_to_keep=1,
            lam=self.lam,
            completion_start=start,
        )
        if self.use_cache:
            self._read, self._cache = text, output.past_key_values
        return output.logits[:, -1]

    def _prompts(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unconditional prompt of each row and its mask, both of shape (rows, time)."""
        ids = self.ids
        if ids is None:
            ids = input_ids[:, self.width - 1 : self.width]
        mask = torch.ones_like(ids) if self.mask is None else self.mask
        repeats = len(input_ids) // len(ids)
        of_rows = (values.to(input_ids.device) for values in (ids, mask))
        ids, mask = (values.repeat_interleave(repeats, 0) for values in of_rows)
        return ids, mask


def with_own_guidance(
    processors: Any,
    model: Any,
    lam: Lam,
    width: int,
    batch_size: int,
    negative_prompt_ids: Tensor | None,
) -> Any:
    """Replace transformers' guidance by a `Guidance`, which reads the second text at the same lam.

    Args:
        processors: the logits processors of a call of `generate`, which are changed in place.
        model: the realigned model.
        lam: the mixing weight of the call.
        width: how many columns of the text are the prompt.
        batch_size: the number of prompts.
        negative_prompt_ids: the unconditional prompts that `generate` was called with.

    Raises:
        ValueError: if there is no guidance for `negative_prompt_ids` to take part in, if their
            number is not that of the prompts, or if the model is an encoder-decoder.
    """
    found = False
    for index, processor in enumerate(processors):
        is_guidance = isinstance(processor, UnbatchedClassifierFreeGuidanceLogitsProcessor)
        if not is_guidance or processor.model is not model:
            continue
        found = True
        if model.config.is_encoder_decoder:
            raise ValueError(
                f"guidance_scale={processor.guidance_scale} is for decoder-only models, and these "
                "are encoder-decoders: leave it out"
            )
        context = processor.unconditional_context
        ids = context["input_ids"]
        if ids is not None and len(ids) not in (1, batch_size):
            raise ValueError(
                f"negative_prompt_ids has {len(ids)} rows, but there are {batch_size} prompts: "
                "give one row for all prompts, or one for each"
            )
        processors[index] = Guidance(
            model,
            processor.guidance_scale,
            lam,
            width,
            ids,
            context["attention_mask"],
            context["use_cache"] is not False,
        )
    if negative_prompt_ids is not None and not found:
        raise ValueError(
            "negative_prompt_ids= does nothing without guidance: give guidance_scale= too, "
            "for example guidance_scale=1.5, or leave negative_prompt_ids out"
        )
    return processors
