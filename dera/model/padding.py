"""Padding: the positions of tokens in padded rows, and rows whose padding is moved to the end."""

from __future__ import annotations

from torch import Tensor


def positions_of(attention_mask: Tensor) -> Tensor:
    """Return the position of each token, counted from the first token that is not padding.

    Args:
        attention_mask: 1 for tokens and 0 for padding, shape (batch, time).

    Returns:
        Int64 of the same shape.
    """
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def padding_last(ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move each row's padding to its end.

    This is for models that count positions from the first column, whether it is padding or not, and
    that take no position ids (BART).

    Args:
        ids: token ids, shape (batch, time).
        attention_mask: 1 for tokens and 0 for padding, of the same shape.

    Returns:
        The ids, the mask, and the columns that they came from; all of the same shape.
    """
    columns = attention_mask.argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, columns), attention_mask.gather(1, columns), columns


def put_back(values: Tensor, columns: Tensor) -> Tensor:
    """Undo `padding_last` for values of shape (batch, time, features)."""
    order = columns.argsort(1)[..., None]
    return values.gather(1, order.expand_as(values))
