"""Mixing next-token distributions, and the normaliser that per-token mixing leaves behind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mix_logits(reference: Tensor, aligned: Tensor | Sequence[Tensor], lam: Tensor) -> Tensor:
    """Mix next-token logits: `h_ref + sum_i lam_i * (h_i - h_ref)` (paper, Proposition 2), in float32.

    With one aligned model this is `(1 - lam) * h_ref + lam * h_aligned`, whose softmax is the normalised geometric mixture
    `p_ref^(1-lam) * p_aligned^lam`. Where all weights are 0 the reference's logits are returned bit for bit, where one is 1 and
    the others 0 that model's. A token excluded (-inf) by any model with a share in the mixture stays excluded: the optimum has
    the support of the reference, and neither NaN nor +inf can arise.

    Args:
        reference: logits of the reference, shape (batch, ..., vocabulary), any floating dtype.
        aligned: logits of the aligned model, same shape; or of each of n aligned models.
        lam: shape (batch,) or (batch, time) for one aligned model, with a last axis n for several.

    Returns:
        float32 logits of the same shape, unnormalised.
    """
    if isinstance(aligned, Tensor):
        aligned, lam = [aligned], lam[..., None]
    parts = [part.float() for part in (reference, *aligned)]
    weights = [
        _spread(weight, reference) for weight in lam.to(reference.device, torch.float32).unbind(-1)
    ]
    if len(weights) == 1:
        mixed = torch.lerp(
            parts[0], parts[1], weights[0]
        )  # exact at both ends, unlike r + lam * (a - r)
    else:
        shares = _shares(weights)
        mixed = torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(
            0
        )
    if mixed.isfinite().all():  # then no part with a share was infinite
        return mixed
    return _mix_excluded(parts, _shares(weights))


def mix_present(logits: list[Tensor | None], weights: Tensor) -> Tensor:
    """`mix_logits` of the parts that were run, None standing for those that were not because they have no share.

    Args:
        logits: of the reference, then of the aligned models.
        weights: shape (batch, number of aligned models), or (batch, time, number of aligned models).
    """
    reference, *aligned = logits
    some = next(part for part in logits if part is not None)
    present = [i for i, part in enumerate(aligned) if part is not None]
    if reference is not None and not present:
        return reference.float()
    if reference is None and len(present) == 1:
        return some.float()
    chosen = [aligned[i] for i in present]
    return mix_logits(some if reference is None else reference, chosen, weights[..., present])  # type: ignore[arg-type]


def log_normalizers(reference: Tensor, aligned: Tensor, lam: Tensor) -> Tensor:
    """Per-token log normalisers `log Z_t = log sum_v p_ref(v)^(1-lam) * p_aligned(v)^lam`.

    Summed over a sequence drawn from the sampler they are its log importance weight, up to a
    constant of the prompt, toward the exact sequence-level mixture. For lam in [0, 1] they are at most 0
    (Hoelder), beyond it at least 0.

    Args:
        reference, aligned: logits, shape (batch, time, vocabulary).
        lam: shape (batch,).

    Returns:
        shape (batch, time), float32.
    """
    return mix_logits(
        reference.float().log_softmax(-1), aligned.float().log_softmax(-1), lam
    ).logsumexp(-1)


def log_normalizers_at(reference: Tensor, aligned: Tensor, lams: Sequence[float]) -> Tensor:
    """`log_normalizers` at many lam at once, in little more time than at a few.

    Args:
        reference, aligned: log-probabilities (normalised logits), float32 of shape (rows, vocabulary).
        lams: the values of lam.

    Returns:
        shape (lams, rows), float32.
    """
    difference = aligned - reference
    if difference.isfinite().all():
        return torch.stack(
            [torch.add(reference, difference, alpha=lam).logsumexp(-1) for lam in lams]
        )
    rows = torch.ones(len(reference), device=reference.device)
    return torch.stack([log_normalizers(reference, aligned, rows * lam) for lam in lams])


def _spread(weight: Tensor, logits: Tensor) -> Tensor:
    """A weight a row, or one a row and position, with axes added so that it broadcasts over logits."""
    return weight.reshape(*weight.shape, *[1] * (logits.ndim - weight.ndim))


def _shares(weights: list[Tensor]) -> list[Tensor]:
    """The exponent of each part, the reference first; they sum to 1."""
    return [1 - torch.stack(weights).sum(0), *weights]


def _mix_excluded(parts: list[Tensor], shares: list[Tensor]) -> Tensor:
    """The mixture where some logits are -inf: those of parts without a share do not count."""
    mixed, excluded = torch.zeros_like(parts[0]), torch.zeros_like(parts[0], dtype=torch.bool)
    for part, share in zip(parts, shares, strict=True):
        has_share = share != 0
        mixed = mixed + torch.where(has_share, share * part, 0)
        excluded = excluded | (has_share & torch.isneginf(part))
    return mixed.masked_fill(excluded, -torch.inf)
