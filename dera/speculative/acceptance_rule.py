"""The rule of speculative sampling: which drafts are kept, and what replaces a refused one."""

from __future__ import annotations

import torch
from torch import Tensor

from dera.drawing import draw


def accept(drafts: Tensor, target: Tensor, drafter: Tensor) -> tuple[Tensor, Tensor]:
    """Keep or replace drafts so that the resulting tokens follow `target` exactly.

    A draft is kept with probability min(1, p / q). The first draft that is not kept is replaced by
    a token drawn from max(p - q, 0), normalised. The drafts after it are dropped (Leviathan et al.
    2023, Algorithm 1; Chen et al. 2023, Algorithm 2).

    Args:
        drafts: tokens drawn from `drafter`, shape (batch, steps).
        target, drafter: probabilities p and q, shape (batch, steps, vocabulary).

    Returns:
        How many drafts of each row are kept, and the token that follows them where not all are
        kept; both of shape (batch,).
    """
    # Keep drafts up to the first that is refused. The comparison is strict, so that a draft which
    # the target excludes is never kept.
    p = target.gather(-1, drafts[..., None])[..., 0]
    q = drafter.gather(-1, drafts[..., None])[..., 0]
    kept = _count_leading(torch.rand_like(p) * q < p)

    # Draw the token that replaces the refused draft. Where p = q nothing is left over, but then
    # nothing was refused either.
    refused = kept.clamp(max=drafts.shape[1] - 1)[:, None, None].expand(-1, 1, target.shape[-1])
    target_there = target.gather(1, refused)[:, 0]
    residual = (target_there - drafter.gather(1, refused)[:, 0]).clamp(min=0)
    residual = torch.where(residual.sum(-1, keepdim=True) > 0, residual, target_there)
    return kept, draw(residual)


def accept_greedily(drafts: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """Keep drafts up to the first that is not the target's most probable token.

    Args:
        drafts: shape (batch, steps).
        best: the target's most probable token at each step, shape (batch, steps).

    Returns:
        What `accept` returns.
    """
    kept = _count_leading(drafts == best)
    refused = kept.clamp(max=drafts.shape[1] - 1)[:, None]
    return kept, best.gather(1, refused)[:, 0]


def _count_leading(kept: Tensor) -> Tensor:
    """Count the true values before the first false one in each row, shape (batch,)."""
    return kept.long().cumprod(-1).sum(-1)
