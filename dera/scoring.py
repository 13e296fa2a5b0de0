"""Log-probabilities of sampled completions under both models and under the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dera.decoding import Completions
from dera.mixing import Lam, as_lam, log_normalizers, mix_logits
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
    reference = model.run_reference(**inputs).logits[:, :-1, :size]
    aligned = model.run_aligned(**inputs).logits[:, :-1, :size]
    return SequenceScores(
        reference=_sum_log_prob(reference, completions),
        aligned=_sum_log_prob(aligned, completions),
        sampler=_sum_log_prob(mix_logits(reference, aligned, weights), completions),
        log_weight=_masked_sum(log_normalizers(reference, aligned, weights), completions),
    )


@torch.no_grad()
def log_probabilities(model: PreTrainedModel, completions: Completions) -> Tensor:
    """Sequence log-probabilities of completions under one model, float64 of shape (batch,), in nats."""
    return _sum_log_prob(model(**_inputs(completions)).logits[:, :-1], completions)


def _inputs(completions: Completions) -> dict[str, Any]:
    """What a forward needs to give the logits that predict each completion token, and one position more."""
    return dict(
        input_ids=completions.input_ids,
        attention_mask=completions.attention_mask,
        position_ids=(completions.attention_mask.long().cumsum(-1) - 1).clamp(min=0),
        logits_to_keep=completions.completion_length + 1,
        use_cache=False,
    )


def _sum_log_prob(logits: Tensor, completions: Completions) -> Tensor:
    tokens = completions.input_ids[:, -completions.completion_length :, None]
    return _masked_sum(logits.float().log_softmax(-1).gather(-1, tokens)[..., 0], completions)


def _masked_sum(values: Tensor, completions: Completions) -> Tensor:
    # Not a product with the mask: padding may be impossible (-inf), and -inf * 0 is NaN.
    padding = completions.attention_mask[:, -completions.completion_length :] == 0
    return values.double().masked_fill(padding, 0.0).sum(-1)
