"""Sampling completions of many prompts from any transformers model, with the masks that scoring needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Completions:
    """Sampled rows: prompts padded on the left, completions padded on the right.

    Attributes:
        input_ids: shape (batch, prompt + completion).
        attention_mask: 1 for the prompt and for the completion up to and including its end-of-sequence token.
        completion_length: how many of the last columns hold completions.
        eos_token_id: the token that ends a completion.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_length: int
    eos_token_id: int

    def token_ids(self) -> list[list[int]]:
        """Each row's completion without padding and without the end-of-sequence token."""
        ids, mask = self.input_ids[:, -self.completion_length :], self.attention_mask[:, -self.completion_length :]
        kept = mask.bool() & (ids != self.eos_token_id)
        return [row[keep].tolist() for row, keep in zip(ids, kept, strict=True)]

    def finished(self) -> list[bool]:
        """Whether each row ended with the end-of-sequence token rather than for lack of room."""
        ids, mask = self.input_ids[:, -self.completion_length :], self.attention_mask[:, -self.completion_length :]
        return (mask.bool() & (ids == self.eos_token_id)).any(-1).tolist()


@torch.no_grad()
def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    max_new_tokens: int,
    **generate_arguments: Any,
) -> Completions:
    """Sample one completion a prompt from the model's own distribution (temperature 1, nothing cut off).

    Args:
        model: any transformers model, a `RealignedModel` included.
        tokenizer: its tokenizer; must have an end-of-sequence token and pads with any token it has.
        prompts: one row each; repeat a prompt for several samples.
        max_new_tokens: a completion that has not ended by then is cut there.
        **generate_arguments: passed to `generate`, for example `lam`.
    """
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
    arguments = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=tokenizer.pad_token_id)
    output = model.generate(
        input_ids=encoded.input_ids,
        attention_mask=encoded.attention_mask,
        max_new_tokens=max_new_tokens,
        **{**arguments, **generate_arguments},
    )
    length = output.shape[1] - encoded.input_ids.shape[1]
    ends = (output[:, -length:] == tokenizer.eos_token_id).long()
    mask = (ends.cumsum(-1) - ends == 0).long()  # up to and including the first end of sequence
    return Completions(output, torch.cat([encoded.attention_mask, mask], dim=1), length, tokenizer.eos_token_id)
