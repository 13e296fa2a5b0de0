"""Sampling completions of many prompts from any transformers model, with the masks that scoring needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.mixing import Lam, as_lam, positions_of


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
    model: Any,
    tokenizer: Any,
    prompts: list[str],
    max_new_tokens: int,
    lam: Lam | None = None,
    greedy: bool = False,
    on_step: Callable[[Tensor, Any, Tensor], None] | None = None,
) -> Completions:
    """Sample one completion a prompt from the model's own distribution (temperature 1, nothing cut off).

    The same distribution as `generate` gives, but rows that have ended leave the batch, so a batch costs what its completions
    are long and not what its longest is.

    Args:
        model: any decoder-only transformers model, a `RealignedModel` included.
        tokenizer: its tokenizer, with an end-of-sequence and a padding token.
        prompts: one row each; repeat a prompt for several samples.
        max_new_tokens: a completion that has not ended by then is cut there.
        lam: for a `RealignedModel`: mixing weight, one number or one a row; its own when absent.
        greedy: take the most probable token instead of sampling.
        on_step: called after each token with the rows still being decoded, shape (n,), the model's output for them (a
            `RealignedModel`'s with its parts) and the tokens chosen, shape (n,).

    Raises:
        ValueError: if `lam` is bad.
    """
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left").to(model.device)
    weights = None if lam is None else as_lam(lam, len(prompts), model.device)
    drawn = torch.full((len(prompts), max_new_tokens), tokenizer.pad_token_id, device=model.device)
    rows = torch.arange(len(prompts), device=model.device)  # those still being decoded
    tokens, mask, cache = encoded.input_ids, encoded.attention_mask, None
    for step in range(max_new_tokens):
        positions = positions_of(mask)[:, -tokens.shape[1] :]
        arguments = {} if weights is None else {"lam": weights[rows], "output_parts": on_step is not None}
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **arguments,
        )
        logits, cache = output.logits[:, -1].float(), output.past_key_values
        chosen = logits.argmax(-1) if greedy else torch.multinomial(logits.softmax(-1), 1)[:, 0]
        drawn[rows, step] = chosen
        if on_step is not None:
            on_step(rows, output, chosen)
        going = (chosen != tokenizer.eos_token_id).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(rows):
            cache.batch_select_indices(going)
        rows, mask = rows[going], torch.nn.functional.pad(mask[going], (0, 1), value=1)
        tokens = chosen[going, None]
    length = step + 1
    ends = (drawn[:, :length] == tokenizer.eos_token_id).long()
    real = (ends.cumsum(-1) - ends == 0).long()  # up to and including the first end of sequence
    return Completions(
        input_ids=torch.cat([encoded.input_ids, drawn[:, :length]], dim=1),
        attention_mask=torch.cat([encoded.attention_mask, real], dim=1),
        completion_length=length,
        eos_token_id=tokenizer.eos_token_id,
    )
