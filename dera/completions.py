"""Sampled completions with the masks that scoring needs, and the tokens that end them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Completions:
    """Sampled rows: prompts padded at the left, completions padded at the right.

    Attributes:
        input_ids: shape (batch, prompt + completion). For an encoder-decoder these are the tokens
            of the decoder, whose prompt is its start token.
        attention_mask: 1 for the prompt and for the completion up to and including its
            end-of-sequence token, shape (batch, prompt + completion).
        completion_length: how many of the last columns hold completions.
        end_token_ids: the tokens that end a completion. A chat model may have more than one.
        encoder_input_ids, encoder_attention_mask: what an encoder-decoder's encoder reads, shape
            (batch, prompt).
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_length: int
    end_token_ids: tuple[int, ...]
    encoder_input_ids: Tensor | None = None
    encoder_attention_mask: Tensor | None = None

    @classmethod
    def from_token_ids(
        cls,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        token_ids: Sequence[Sequence[int]],
        finished: Sequence[bool],
        end_token_ids: tuple[int, ...],
    ) -> Completions:
        """Return rows of a decoder-only model from what `token_ids` and `finished` say of them.

        Where several tokens end a completion, a finished row ends with the first of them. What a
        model predicts there is the same for all of them.

        Args:
            prompt_ids: the prompts, padded at the left, shape (batch, prompt).
            prompt_mask: 1 for their tokens and 0 for padding, of the same shape.
            token_ids: each row's completion without its end-of-sequence token.
            finished: whether each row ended with an end-of-sequence token.
            end_token_ids: the tokens that end a completion.
        """
        end = end_token_ids[0]
        rows = []
        for ids, has_ended in zip(token_ids, finished, strict=True):
            rows.append([*ids, end] if has_ended else list(ids))
        longest = max(map(len, rows))
        padded = [row + [end] * (longest - len(row)) for row in rows]
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        return cls(
            input_ids=torch.cat([prompt_ids, prompt_ids.new_tensor(padded)], dim=1),
            attention_mask=torch.cat([prompt_mask, prompt_mask.new_tensor(mask)], dim=1),
            completion_length=longest,
            end_token_ids=end_token_ids,
        )

    def select(self, rows: slice) -> Completions:
        """Return some of the rows, with their padding."""

        def of_rows(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[rows]

        return replace(
            self,
            input_ids=self.input_ids[rows],
            attention_mask=self.attention_mask[rows],
            encoder_input_ids=of_rows(self.encoder_input_ids),
            encoder_attention_mask=of_rows(self.encoder_attention_mask),
        )

    def token_ids(self) -> list[list[int]]:
        """Return each row's completion without padding and without its end-of-sequence token."""
        ids = self._columns(self.input_ids)
        kept = self._real() & ~self._ends()
        return [row[keep].tolist() for row, keep in zip(ids, kept, strict=True)]

    def finished(self) -> list[bool]:
        """Return whether each row ended with an end-of-sequence token and was not cut."""
        return (self._real() & self._ends()).any(-1).tolist()

    def lengths(self) -> list[int]:
        """Return the number of tokens in each completion, its end-of-sequence token counted."""
        return self._real().sum(-1).tolist()

    def _columns(self, values: Tensor) -> Tensor:
        """Return the columns of the completions, shape (batch, completion)."""
        return values[:, -self.completion_length :]

    def _real(self) -> Tensor:
        """Return which tokens of the completions are not padding."""
        return self._columns(self.attention_mask).bool()

    def _ends(self) -> Tensor:
        """Return which tokens of the completions are end-of-sequence tokens."""
        return is_end(self._columns(self.input_ids), self.end_token_ids)


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a completion, in ascending order.

    The tokenizer and the model's generation settings name them; the two are put together.

    Raises:
        ValueError: if neither names one.
    """
    of_model = model.generation_config.eos_token_id
    ends_of_model = of_model if isinstance(of_model, (list, tuple)) else [of_model]
    ends = {*ends_of_model, tokenizer.eos_token_id} - {None}
    if not ends:
        raise ValueError(
            "neither the tokenizer nor the model's generation settings name an end-of-sequence "
            "token: set one, for example tokenizer.eos_token"
        )
    return tuple(sorted(ends))


def is_end(ids: Tensor, end_token_ids: tuple[int, ...] | Tensor) -> Tensor:
    """Return whether each token is one that ends a completion. A loop passes a tensor of these."""
    return torch.isin(ids, torch.as_tensor(end_token_ids, device=ids.device))


def mask_until_end(drawn: Tensor, end_token_ids: tuple[int, ...]) -> Tensor:
    """Return 1 for drawn tokens up to and including each row's first end of sequence, else 0."""
    ends = is_end(drawn, end_token_ids).long()
    ends_before = ends.cumsum(-1) - ends
    return (ends_before == 0).long()
