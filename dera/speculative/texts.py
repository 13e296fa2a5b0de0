"""The texts of all rows, which grow at different speeds."""

from __future__ import annotations

import torch
from torch import Tensor

from dera.speculative.draft_length import LONGEST_DRAFT


class Texts:
    """All rows' texts, each with its own length and with space for drafts after it.

    A column is counted from the start of the padded prompt. A position is what the models are told,
    and does not count padding.

    Args:
        prompts: token ids, shape (batch, width).
        positions: their positions, shape (batch, width).
        max_length: no text becomes longer, its padding counted.
        pad: the token that fills shorter rows.

    Attributes:
        ids: the tokens of all rows, finished ones too, shape (batch, columns); there are
            max_length + LONGEST_DRAFT + 1 columns.
        lengths: how many columns of each row are text, its padding counted, shape (batch,).
        rows: the indices of the rows that are still being decoded, shape (rows,).
    """

    def __init__(self, prompts: Tensor, positions: Tensor, max_length: int, pad: int):
        batch, width = prompts.shape
        self.max_length = max_length
        self.pad = pad
        self.ids = prompts.new_full((batch, max_length + LONGEST_DRAFT + 1), pad)
        self.ids[:, :width] = prompts
        self.lengths = prompts.new_full((batch,), width)
        self.rows = torch.arange(batch, device=prompts.device)
        # The position that a row's first column would have, counted back from its prompt's end.
        self._start = positions[:, -1] - (width - 1)

    def next_columns(self, count: int) -> Tensor:
        """Return the first `count` columns after each row's text, shape (rows, count)."""
        first = self.lengths[self.rows]
        return first[:, None] + torch.arange(count, device=first.device)

    def tokens_at(self, columns: Tensor) -> Tensor:
        """Return the tokens in columns of shape (rows, time), in the same shape."""
        return self.ids[self.rows[:, None], columns]

    def write(self, columns: Tensor, tokens: Tensor) -> None:
        """Write one token a row; both of shape (rows,)."""
        self.ids[self.rows, columns] = tokens

    def positions_at(self, columns: Tensor) -> Tensor:
        """Return the positions of columns of shape (rows, time), in the same shape.

        Drafts may stand beyond where a text must end. The models may know no such position, so
        these drafts get the last position there is.
        """
        return columns.clamp(max=self.max_length - 1) + self._start[:, None]

    def select(self, going: Tensor) -> None:
        """Go on with these rows alone, shape (rows that go on,)."""
        self.rows = self.rows[going]
        self._start = self._start[going]

    def padded(self) -> Tensor:
        """Return all rows' texts, padded at the right, shape (batch, longest text)."""
        columns = torch.arange(int(self.lengths.max()), device=self.ids.device)
        return self.ids[:, : len(columns)].masked_fill(columns >= self.lengths[:, None], self.pad)
