"""The cache of one model, from which drafts can be taken back row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from dera.model.parts import Part
from dera.speculative.draft_length import LONGEST_DRAFT


@dataclass(frozen=True)
class Tokens:
    """Tokens for a model to read.

    Attributes:
        ids: shape (rows, time).
        positions: the position of each, shape (rows, time).
        real: which of them are tokens and not padding, shape (rows, time); None where all are.
    """

    ids: Tensor
    positions: Tensor
    real: Tensor | None = None

    def followed_by(self, following: Tokens) -> Tokens:
        """Return these tokens with the following ones after them, all of which are real."""
        real = self.real
        if real is not None:
            real = torch.cat([real, real.new_ones(following.ids.shape)], dim=1)
        return Tokens(
            torch.cat([self.ids, following.ids], dim=1),
            torch.cat([self.positions, following.positions], dim=1),
            real,
        )


class DraftCache:
    """The keys and values of what one part has read, in columns that need not all hold tokens.

    Rows accept different numbers of drafts, but a cache has one number of columns for all of them.
    A mask therefore says which columns of a row hold its tokens. The others hold padding, or drafts
    that were refused.

    Args:
        part: the part.
        vocabulary: how many of the part's logits to keep.

    Attributes:
        count: the number of columns.
        mask: 1 where a row has a token, shape (rows, columns). It is None while every column of
            every row holds a token, which spares the model a mask.
        passes: how often the part was called.
    """

    def __init__(self, part: Part, vocabulary: int):
        self.part = part
        self.vocabulary = vocabulary
        self.cache = DynamicCache()
        self.count = 0
        self.passes = 0
        self.mask: Tensor | None = None

    def read(self, tokens: Tokens, keep: int) -> Tensor:
        """Append tokens, and return the logits after the last `keep` of them.

        It is to be called within `part.adapted()`.

        Returns:
            float32 of shape (rows, keep, vocabulary).
        """
        self._append_to_mask(tokens)
        self.count += tokens.ids.shape[1]
        self.passes += 1
        output = self.part.run(
            input_ids=tokens.ids,
            attention_mask=self.mask,
            position_ids=tokens.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
            return_dict=True,
        )
        logits = output.logits[:, -keep:, : self.vocabulary]
        return logits.to(tokens.ids.device, torch.float32)

    def keep(self, kept: Tensor, time: int) -> None:
        """Take back all but the first `kept` of the last `time` columns.

        Columns that no row keeps are dropped. Columns that only some rows keep are masked.

        Args:
            kept: how many of these columns each row keeps, shape (rows,).
            time: how many columns to look at.
        """
        kept = kept.clamp(max=time)
        largest, smallest = int(kept.max()), int(kept.min())
        if largest < time:
            self.cache.crop(largest - time)
            self.count -= time - largest
            self.mask = None if self.mask is None else self.mask[:, : self.count]
        if smallest < largest:
            if self.mask is None:
                self.mask = torch.ones(len(kept), self.count, dtype=torch.long, device=kept.device)
            columns = torch.arange(largest, device=kept.device)
            self.mask[:, self.count - largest :] = columns < kept[:, None]

    @property
    def layers(self) -> list[Any]:
        """The layers of the cache, all of the kind that keeps every token's keys and values."""
        return self.cache.layers

    def select(self, rows: Tensor) -> None:
        """Go on with these rows alone."""
        for layer in self.layers:
            layer.batch_select_indices(rows.to(layer.keys.device))
        self.mask = None if self.mask is None else self.mask[rows]

    def compact(self, max_columns: float) -> None:
        """Move each row's tokens together if too many columns hold no tokens.

        That is if the columns outnumber the tokens of the longest row by a quarter and the longest
        draft, or if the longest draft no longer fits into `max_columns`, the number of columns that
        the model's layers look back at.
        """
        if self.mask is None:
            return
        longest = int(self.mask.sum(1).max())
        if self.count <= min(1.25 * longest + LONGEST_DRAFT, max_columns - LONGEST_DRAFT - 1):
            return
        # A stable sort by the mask moves columns without a token to the front, where they are cut
        # off.
        order = self.mask.argsort(dim=1, stable=True)[:, -longest:]
        for layer in self.layers:
            columns = order[:, None, :, None].to(layer.keys.device)
            layer.keys = _gather_columns(layer.keys, columns)
            layer.values = _gather_columns(layer.values, columns)
        self.count = longest
        self.mask = self.mask.gather(1, order)
        if bool(self.mask.all()):
            self.mask = None

    def _append_to_mask(self, tokens: Tokens) -> None:
        if tokens.real is not None and self.mask is None:
            self.mask = tokens.ids.new_ones(len(tokens.ids), self.count)
        if self.mask is not None:
            ones = torch.ones_like(tokens.ids)
            new = ones if tokens.real is None else tokens.real.to(tokens.ids.dtype)
            self.mask = torch.cat([self.mask, new], dim=1)


def _gather_columns(held: Tensor, columns: Tensor) -> Tensor:
    """Take columns of keys or values, shape (rows, heads, columns, size), by row."""
    return held.gather(2, columns.expand(-1, held.shape[1], -1, held.shape[3]))
