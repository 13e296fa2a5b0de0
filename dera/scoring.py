"""Log-probabilities of sampled completions under both models and under the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.decoding import Completions
from dera.mixing import Lam, as_lam, mix_logits
from dera.model import RealignedModel


@dataclass(frozen=True)
class SequenceScores:
    """Sequence log-probabilities, each float64 of shape (batch,), in nats.

    `log_weight` is `sum_t log Z_t`: for a completion drawn from the sampler at that lam, its unnormalised log
    importance weight toward the exact geometric mixture of the paper's Proposition 1.
    """

    reference: Tensor
    aligned: Tensor
    sampler: Tensor
    log_weight: Tensor


@torch.no_grad()
def score_completions(model: RealignedModel, completions: Completions, lam: Lam) -> SequenceScores:
    """Score completions under the reference, the aligned model and the sampler at `lam`.

    Args:
        model: the pair.
        completions: rows to score; the end-of-sequence token counts, padding does not.
        lam: mixing weight, one number or one a row.

    Raises:
        ValueError: if `lam` is not finite or has a wrong shape.
    """
    weights = as_lam(lam, len(completions.input_ids), completions.input_ids.device)
    inputs, size = _inputs(completions), model.config.vocab_size
    reference = _log_softmax(model.run_reference(**inputs).logits[..., :size], completions)
    aligned = _log_softmax(model.run_aligned(**inputs).logits[..., :size], completions)
    rows, tokens = _rows(completions), _tokens(completions)
    mixed = mix_logits(reference, aligned, weights[rows])
    log_z = mixed.logsumexp(-1)  # log Z_t, because both parts are normalised
    return SequenceScores(
        reference=_sum(_at(reference, tokens), completions),
        aligned=_sum(_at(aligned, tokens), completions),
        sampler=_sum(_at(mixed, tokens) - log_z, completions),
        log_weight=_sum(log_z, completions),
    )


@torch.no_grad()
def log_probabilities(model: Any, completions: Completions) -> Tensor:
    """Sequence log-probabilities of completions under one model, float64 of shape (batch,), in nats."""
    return _sum(_at(_log_softmax(model(**_inputs(completions)).logits, completions), _tokens(completions)), completions)


def _inputs(completions: Completions) -> dict[str, Any]:
    """What a forward needs to give the logits that predict each completion token, and one position more."""
    return dict(
        input_ids=completions.input_ids,
        attention_mask=completions.attention_mask,
        position_ids=(completions.attention_mask.long().cumsum(-1) - 1).clamp(min=0),
        logits_to_keep=completions.completion_length + 1,
        use_cache=False,
    )


def _mask(completions: Completions) -> Tensor:
    return completions.attention_mask[:, -completions.completion_length :].bool()


def _rows(completions: Completions) -> Tensor:
    """The row each completion token belongs to, shape (tokens,): padding is left out before any work on vocabularies."""
    return _mask(completions).nonzero()[:, 0]


def _tokens(completions: Completions) -> Tensor:
    return completions.input_ids[:, -completions.completion_length :][_mask(completions)]


def _log_softmax(logits: Tensor, completions: Completions) -> Tensor:
    """Next-token log-probabilities where each completion token was predicted, shape (tokens, vocabulary), float32."""
    return logits[:, :-1][_mask(completions)].float().log_softmax(-1)


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens[:, None])[:, 0]


def _sum(per_token: Tensor, completions: Completions) -> Tensor:
    """Sums over the tokens of each row, in float64."""
    total = torch.zeros(len(completions.input_ids), dtype=torch.double, device=per_token.device)
    return total.index_add(0, _rows(completions), per_token.double())
