"""Mixing next-token distributions, and the normaliser that mixing token by token leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mix_logits(reference: Tensor, aligned: Tensor | Sequence[Tensor], lam: Tensor) -> Tensor:
    """Mix next-token logits in float32: `h_ref + sum_i lam_i * (h_i - h_ref)`.

    Source: paper, Proposition 2.

    With one aligned model this is `(1 - lam) * h_ref + lam * h_aligned`. Its softmax is the
    normalised geometric mixture `p_ref^(1-lam) * p_aligned^lam`. Where all weights are 0 the
    reference's logits are returned bit for bit. Where one weight is 1 and the others are 0, the
    logits of that weight's model are returned. A token stays excluded (-inf) if any model with a
    share in the mixture excludes it: the optimum has the support of the reference, and neither NaN
    nor +inf can arise.

    Args:
        reference: the logits of the reference, shape (batch, ..., vocabulary), any floating dtype.
        aligned: the logits of the aligned model, of the same shape; or a sequence of the logits of
            n aligned models.
        lam: shape (batch,) or (batch, time) for one aligned model. For n aligned models there is a
            last axis n.

    Returns:
        Float32 logits of the same shape, unnormalised.
    """
    if isinstance(aligned, Tensor):
        aligned, lam = [aligned], lam[..., None]
    parts = [part.float() for part in (reference, *aligned)]
    lam = lam.to(reference.device, torch.float32)
    weights = [_spread(weight, reference) for weight in lam.unbind(-1)]

    # If the result is finite, no part with a share was infinite. This is not asked in a graph that
    # is compiled, because a graph cannot branch on values.
    if not torch.compiler.is_compiling():
        mixed = _mix_finite(parts, weights)
        if mixed.isfinite().all():
            return mixed
    return _mix_excluded(parts, weights)


def mix_present(logits: list[Tensor | None], weights: Tensor) -> Tensor:
    """Mix the logits of the parts that were run. Parts without a share may be missing.

    Args:
        logits: the logits of the reference, then of the aligned models; None for a missing part.
        weights: shape (batch, number of aligned models); for a schedule (batch, time, number of
            aligned models).

    Returns:
        What `mix_logits` returns.
    """
    reference, *aligned = logits
    present = [index for index, part in enumerate(aligned) if part is not None]
    present_logits = [part for part in aligned if part is not None]
    if reference is not None and not present:
        return reference.float()
    if reference is None and len(present) == 1:
        return present_logits[0].float()
    # A missing reference has no share, so that any logits can stand for its own, provided that they
    # are finite wherever the mixture is.
    stand_in = present_logits[0] if reference is None else reference
    return mix_logits(stand_in, present_logits, weights[..., present])


def parts_with_share(weights: Tensor) -> list[bool]:
    """Return for each part, the reference first, whether it has a share in the mixture of any row.

    Args:
        weights: shape (batch, number of aligned models); for a schedule (batch, time, number of
            aligned models).
    """
    reference = bool((weights.sum(-1) != 1).any())
    aligned = (weights != 0).flatten(0, -2).any(0).tolist()
    return [reference, *aligned]


def with_share(logits: Sequence[Tensor | None], weights: Tensor) -> list[Tensor | None]:
    """Return the logits of the parts that have a share in the mixture, and None for the others."""
    shares = parts_with_share(weights)
    return [part if has_share else None for part, has_share in zip(logits, shares, strict=True)]


def log_normalizers(reference: Tensor, aligned: Tensor, lam: Tensor) -> Tensor:
    """Return per-token log normalisers `log Z_t = log sum_v p_ref(v)^(1-lam) * p_aligned(v)^lam`.

    Their sum over a sequence drawn from the sampler is the sequence's log importance weight toward
    the exact sequence-level mixture, up to a constant of the prompt. They are at most 0 for lam in
    [0, 1] (Hoelder's inequality), and at least 0 outside it.

    Args:
        reference: the logits of the reference, shape (batch, time, vocabulary).
        aligned: the logits of the aligned model, of the same shape.
        lam: shape (batch,).

    Returns:
        Float32 of shape (batch, time).
    """
    log_reference = reference.float().log_softmax(-1)
    log_aligned = aligned.float().log_softmax(-1)
    return mix_logits(log_reference, log_aligned, lam).logsumexp(-1)


def log_normalizers_at(reference: Tensor, aligned: Tensor, lams: Sequence[float]) -> Tensor:
    """Return what `log_normalizers` gives at many lam, from log-probabilities computed once.

    Args:
        reference: the reference's log-probabilities, float32 of shape (rows, vocabulary).
        aligned: the aligned model's log-probabilities, of the same shape.
        lams: the values of lam.

    Returns:
        Float32 of shape (lams, rows).
    """
    difference = aligned - reference
    if difference.isfinite().all():
        mixtures = (torch.add(reference, difference, alpha=lam) for lam in lams)
        return torch.stack([mixture.logsumexp(-1) for mixture in mixtures])
    ones = torch.ones(len(reference), device=reference.device)
    return torch.stack([log_normalizers(reference, aligned, ones * lam) for lam in lams])


def _spread(weight: Tensor, logits: Tensor) -> Tensor:
    """Add axes to a weight for each row, or row and position, so that it broadcasts over logits."""
    return weight.reshape(*weight.shape, *[1] * (logits.ndim - weight.ndim))


def _shares(weights: list[Tensor]) -> list[Tensor]:
    """Return the exponent of each part in the mixture, the reference's first. They sum to 1."""
    return [1 - torch.stack(weights).sum(0), *weights]


def _mix_finite(parts: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Mix logits that are finite."""
    if len(weights) == 1:
        # lerp is exact at both ends, unlike r + lam * (a - r)
        return torch.lerp(parts[0], parts[1], weights[0])
    terms = [share * part for share, part in zip(_shares(weights), parts, strict=True)]
    return torch.stack(terms).sum(0)


def _mix_excluded(parts: list[Tensor], weights: list[Tensor]) -> Tensor:
    """Mix logits of which some may be -inf. Parts without a share exclude no token."""
    excluded = torch.zeros_like(parts[0], dtype=torch.bool)
    for part, share in zip(parts, _shares(weights), strict=True):
        excluded = excluded | ((share != 0) & torch.isneginf(part))
    finite = [part.masked_fill(torch.isneginf(part), 0) for part in parts]
    return _mix_finite(finite, weights).masked_fill(excluded, -torch.inf)
