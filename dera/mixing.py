"""Mixing two next-token distributions, and the normaliser that per-token mixing leaves behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

#: What callers may pass as `lam`: one number for the whole batch, or one number a row.
Lam = float | int | Fraction | Sequence[float] | Tensor


def as_lam(lam: Lam, batch_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return `lam` as a float32 tensor of shape (batch_size,).

    Raises:
        ValueError: if `lam` is not finite, or has neither one value nor one value a row.
    """
    if isinstance(lam, Fraction):
        lam = float(lam)
    weights = torch.as_tensor(lam, dtype=torch.float32, device=device)
    if not torch.isfinite(weights).all():
        raise ValueError(f"lam must be finite, got {lam}")
    if weights.ndim == 0:
        return weights.expand(batch_size)
    if weights.shape != (batch_size,):
        raise ValueError(
            f"lam has shape {tuple(weights.shape)}, but the batch has {batch_size} rows: "
            f"give one number, or a one-dimensional sequence of {batch_size} numbers"
        )
    return weights


def positions_of(attention_mask: Tensor) -> Tensor:
    """Position of each token, counted from the first that is not padding; shape (batch, time), as the mask's."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def lam_from_beta(beta: float, aligned_beta: float | None) -> float:
    """The mixing weight that realigns a model trained at `aligned_beta` to strength `beta` (paper, Proposition 1).

    Raises:
        ValueError: if `aligned_beta` is unknown, or either strength is not a positive finite number.
    """
    if aligned_beta is None:
        raise ValueError("beta= needs the strength the aligned model was trained at: pass aligned_beta= when loading it")
    for name, value in (("beta", beta), ("aligned_beta", aligned_beta)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive finite number, got {value}")
    return aligned_beta / beta


def mix_logits(reference: Tensor, aligned: Tensor, lam: Tensor) -> Tensor:
    """Mix next-token logits: `(1 - lam) * reference + lam * aligned` (paper, Proposition 2), in float32.

    The softmax of the result is the normalised geometric mixture `p_ref^(1-lam) * p_aligned^lam`.
    At lam = 0 the reference's logits are returned bit for bit, at lam = 1 the aligned model's. At any other lam a token
    that either model excludes (-inf) stays excluded: the optimum has the support of the reference, and
    neither NaN nor +inf can arise.

    Args:
        reference: logits of the reference, shape (batch, ..., vocabulary), any floating dtype.
        aligned: logits of the aligned model, same shape.
        lam: shape (batch,).

    Returns:
        float32 logits of the same shape, unnormalised.
    """
    reference, aligned = reference.float(), aligned.float()
    weight = lam.to(reference.device).view(-1, *[1] * (reference.ndim - 1))
    mixed = torch.lerp(reference, aligned, weight)  # exact at both ends, unlike r + lam * (a - r)
    excluded = torch.isneginf(reference) | torch.isneginf(aligned)
    mixed = mixed.masked_fill(excluded, -torch.inf)
    # Where one end excludes a token, lerp's own ends are NaN (inf - inf); restore them.
    mixed = torch.where(weight == 0, reference, mixed)
    return torch.where(weight == 1, aligned, mixed)


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
    return mix_logits(reference.float().log_softmax(-1), aligned.float().log_softmax(-1), lam).logsumexp(-1)
