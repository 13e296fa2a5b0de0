"""Padding: where tokens stand in their row, and rows moved so that padding comes last."""

from __future__ import annotations

from torch import Tensor


def positions_of(attention_mask: Tensor) -> Tensor:
    """Position of each token, counted from the first that is not padding; shape (batch, time), as the mask's."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def padding_last(ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask with each row's padding at its end, and the columns they came from; all of shape (batch, time).

    For models that count positions from the first column, padding or not, and take no position ids (BART).
    """
    columns = attention_mask.argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, columns), attention_mask.gather(1, columns), columns


def put_back(values: Tensor, columns: Tensor) -> Tensor:
    """Undo `padding_last` for values of shape (batch, time, features)."""
    return values.gather(1, columns.argsort(1)[..., None].expand_as(values))
