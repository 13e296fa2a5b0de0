"""KL divergences from a policy to other models, read off the policy's own completions.

For completions y that q drew, the KL divergence over whole completions is a sum over tokens,

    KL(q || p) = E_{y ~ q} sum_t KL(q(. | x, y_<t) || p(. | x, y_<t)),

which is the chain rule of the KL divergence (Cover and Thomas, Elements of Information Theory,
theorem 2.5.3). Each inner divergence is exact, because the logits have the whole next-token
distribution. So the only noise is that of which completions were drawn.

DeRa mixes a reference r and an aligned model a token by token (paper, Proposition 2): its
next-token distribution at lam is r^(1-lam) a^lam / Z_t(lam). With the log-ratio d = log a - log r,

    KL_t(lam) = KL(q || r) - lam E_q[d] + log Z_t(lam),    dKL_t / dlam = E_lam[d] - E_q[d],

where E_lam averages over DeRa's distribution. KL_t is convex in lam. Completions that q drew once
serve every lam, and nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.completions import Completions
from dera.teacher_forcing import next_token_log_probs, sum_over_tokens

#: Numbers of one tensor that are worked on at once, so that what is computed of (tokens x
#: vocabulary) stays small. On a CPU a chunk and what is computed of it fit the cache of a core.
CHUNK = {"cpu": 2**16, "cuda": 2**24}


@dataclass(frozen=True)
class KlByLam:
    """KL(q || DeRa at lam) over whole completions, for each of several lam.

    The mean over completions that q drew estimates the divergence.

    Attributes:
        kl: the sum of the tokens' divergences in nats, float64 of shape (lams, batch).
        slope: its derivative with respect to lam, in nats per unit of lam, of the same shape.
    """

    kl: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Readings:
    """How far the policy that drew completions is from other models, over whole completions.

    Attributes:
        to_reference: KL to the reference in nats, float64 of shape (batch,).
        to_aligned: KL to the aligned model in nats, of the same shape.
        by_lam: KL to DeRa at each lam.
    """

    to_reference: Tensor
    to_aligned: Tensor
    by_lam: KlByLam


def read(
    policy: Any, reference: Any, aligned: Any, completions: Completions, lams: Sequence[float]
) -> Readings:
    """Read a policy's own completions with a reference, an aligned model and DeRa between them.

    Args:
        policy: the model that drew the completions, at temperature 1.
        reference: the reference that DeRa starts from.
        aligned: the aligned model that DeRa starts from.
        completions: what `policy` drew; the end-of-sequence token counts, padding does not.
        lams: the mixing weights of DeRa.

    Raises:
        ValueError: where `kl_by_lam` raises one.
    """
    log_q = next_token_log_probs(policy, completions)
    log_reference = next_token_log_probs(reference, completions)
    log_aligned = next_token_log_probs(aligned, completions)
    return Readings(
        to_reference=kl(log_q, log_reference, completions),
        to_aligned=kl(log_q, log_aligned, completions),
        by_lam=kl_by_lam(log_q, log_reference, log_aligned, lams, completions),
    )


def kl(log_q: Tensor, log_p: Tensor, completions: Completions) -> Tensor:
    """Return the sum over tokens of KL(q || p) between next-token distributions.

    Args:
        log_q: next-token log-probabilities of the policy that drew the completions, float32 of
            shape (tokens, vocabulary), as `dera.teacher_forcing.next_token_log_probs` returns them.
        log_p: those of another model, of the same shape.
        completions: the completions, which have as many tokens.

    Returns:
        Nats, float64 of shape (batch,).

    Raises:
        ValueError: if a shape does not fit, or a model excludes a token altogether.
    """
    _check(completions, log_q, log_p)
    chunks = []
    for q, p in zip(_chunks(log_q), _chunks(log_p), strict=True):
        chunks.append((q.exp() * (q - p)).sum(-1))
    return _finite(sum_over_tokens(torch.cat(chunks), completions))


def kl_by_lam(
    log_q: Tensor,
    log_reference: Tensor,
    log_aligned: Tensor,
    lams: Sequence[float],
    completions: Completions,
) -> KlByLam:
    """Return the sum over tokens of KL(q || DeRa at lam), and its slope, for every lam.

    Args:
        log_q: next-token log-probabilities of the policy that drew the completions, float32 of
            shape (tokens, vocabulary), as `dera.teacher_forcing.next_token_log_probs` returns them.
        log_reference: those of the reference, of the same shape.
        log_aligned: those of the aligned model, of the same shape.
        lams: the mixing weights, any finite numbers.
        completions: the completions, which have as many tokens.

    Raises:
        ValueError: if a shape does not fit, or a model excludes a token altogether.
    """
    _check(completions, log_q, log_reference, log_aligned)
    parts = [_chunks(logs) for logs in (log_q, log_reference, log_aligned)]
    kls = []
    slopes = []
    for q, reference, aligned in zip(*parts, strict=True):
        kl_of_chunk, slope_of_chunk = _token_kl_by_lam(q, reference, aligned, lams)
        kls.append(kl_of_chunk)
        slopes.append(slope_of_chunk)
    return KlByLam(
        kl=_finite(sum_over_tokens(torch.cat(kls, dim=1), completions)),
        slope=sum_over_tokens(torch.cat(slopes, dim=1), completions),
    )


def _token_kl_by_lam(
    log_q: Tensor, log_reference: Tensor, log_aligned: Tensor, lams: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return KL_t and its slope at every lam, each float32 of shape (lams, tokens)."""
    log_ratio = log_aligned - log_reference
    q = log_q.exp()
    kl_to_reference = (q * (log_q - log_reference)).sum(-1)
    mean_under_q = torch.linalg.vecdot(q, log_ratio)

    # The mixture's weights are taken relative to the largest, so that none overflows.
    weights = q  # the same memory, whose values are no longer needed
    largest, totals, sums = [], [], []
    for lam in lams:
        torch.add(log_reference, log_ratio, alpha=lam, out=weights)
        largest.append(weights.amax(-1))
        weights.sub_(largest[-1][:, None]).exp_()
        totals.append(weights.sum(-1))
        sums.append(torch.linalg.vecdot(weights, log_ratio))

    # Each row of these tensors belongs to one lam, and each column to one token.
    total = torch.stack(totals)
    log_z = torch.stack(largest) + total.log()
    mean_under_mixture = torch.stack(sums) / total
    of_lams = torch.tensor(lams, dtype=torch.float32, device=q.device)[:, None]
    kls = kl_to_reference - of_lams * mean_under_q + log_z
    return kls, mean_under_mixture - mean_under_q


def _chunks(logs: Tensor) -> tuple[Tensor, ...]:
    """Cut a tensor of shape (tokens, vocabulary) into chunks of tokens."""
    numbers = CHUNK.get(logs.device.type, CHUNK["cuda"])
    return logs.split(max(1, numbers // logs.shape[1]))


def _check(completions: Completions, *all_logs: Tensor) -> None:
    """Check that log-probabilities belong to the tokens of completions.

    Raises:
        ValueError: naming the shapes.
    """
    tokens = sum(completions.lengths())
    shapes = [tuple(logs.shape) for logs in all_logs]
    if len(set(shapes)) > 1 or shapes[0][0] != tokens:
        raise ValueError(
            f"the completions have {tokens} tokens and the log-probabilities the shapes {shapes}: "
            "all must be (tokens, vocabulary), with one vocabulary; cut larger ones to the tokens "
            "that all models know"
        )


def _finite(sums: Tensor) -> Tensor:
    """Return sums over tokens, after checking that they are finite.

    Raises:
        ValueError: if a model gives a token the probability 0.
    """
    if not sums.isfinite().all():
        raise ValueError(
            "a model gives a token the probability 0, so that a KL divergence may be infinite: cut "
            "the vocabulary to the tokens that all models know"
        )
    return sums
