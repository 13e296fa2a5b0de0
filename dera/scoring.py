"""Log-probabilities of sampled completions under both models and under the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.decoding import Completions, sample_completions
from dera.mixing import mix_logits
from dera.model.padding import positions_of
from dera.model.realigned import RealignedModel, check_pair
from dera.weights import Lam, as_lam


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
    check_pair(model)
    weights = as_lam(lam, len(completions.input_ids), completions.input_ids.device)[:, 0]
    output, mask = model(**_inputs(completions), lam=weights, output_parts=True), _mask(completions)
    reference, aligned = (
        _predicting(logits, completions)[mask]
        for logits in (output.reference_logits, output.aligned_logits)
    )
    per_token = _per_token(reference, aligned, weights[_rows(completions)], _tokens(completions))
    return SequenceScores(*_sum(per_token, completions))


@torch.no_grad()
def sample_and_score(
    model: RealignedModel, tokenizer: Any, prompts: list[str], max_new_tokens: int, lam: Lam
) -> tuple[Completions, SequenceScores]:
    """`sample_completions` and `score_completions` in one pass: decoding has computed both models' logits already.

    Args and errors as those of `sample_completions`.
    """
    check_pair(model)
    weights = as_lam(lam, len(prompts), model.device)[:, 0]
    totals = torch.zeros(4, len(prompts), dtype=torch.double)

    def add(rows: Tensor, output: Any, tokens: Tensor) -> None:
        scores = _per_token(
            output.reference_logits[:, -1], output.aligned_logits[:, -1], weights[rows], tokens
        )
        totals[:, rows.cpu()] += scores.cpu()

    completions = sample_completions(
        model, tokenizer, prompts, max_new_tokens, lam=weights, on_step=add
    )
    return completions, SequenceScores(*totals)


@torch.no_grad()
def log_probabilities(model: Any, completions: Completions) -> Tensor:
    """Sequence log-probabilities of completions under one model, float64 of shape (batch,), in nats."""
    logits = _predicting(model(**_inputs(completions)).logits, completions)[_mask(completions)]
    return _sum(_at(logits.float().log_softmax(-1), _tokens(completions)), completions)


def _per_token(reference: Tensor, aligned: Tensor, lam: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of tokens under reference, aligned and sampler, and log Z_t; float64 of shape (4, tokens).

    Args:
        reference, aligned: logits that predict the tokens, shape (tokens, vocabulary).
        lam: shape (tokens,).
        tokens: ids, shape (tokens,).
    """
    reference, aligned = reference.float().log_softmax(-1), aligned.float().log_softmax(-1)
    mixed = mix_logits(reference, aligned, lam)
    log_z = mixed.logsumexp(-1)  # log Z_t, because both parts are normalised
    return torch.stack(
        [_at(reference, tokens), _at(aligned, tokens), _at(mixed, tokens) - log_z, log_z]
    ).double()


def _inputs(completions: Completions) -> dict[str, Any]:
    """What a forward needs to give the logits that predict each completion token, and one position more."""
    if completions.encoder_input_ids is not None:
        return dict(
            input_ids=completions.encoder_input_ids,
            attention_mask=completions.encoder_attention_mask,
            decoder_input_ids=completions.input_ids,
            use_cache=False,
        )
    return dict(
        input_ids=completions.input_ids,
        attention_mask=completions.attention_mask,
        position_ids=positions_of(completions.attention_mask),
        logits_to_keep=completions.completion_length + 1,
        use_cache=False,
    )


def _predicting(logits: Tensor, completions: Completions) -> Tensor:
    """Those of a forward's logits that predict the completion's tokens, shape (batch, completion, vocabulary)."""
    return logits[:, -completions.completion_length - 1 : -1]


def _mask(completions: Completions) -> Tensor:
    return completions.attention_mask[:, -completions.completion_length :].bool()


def _rows(completions: Completions) -> Tensor:
    """The row each completion token belongs to, shape (tokens,): padding is left out before any work on vocabularies."""
    return _mask(completions).nonzero()[:, 0]


def _tokens(completions: Completions) -> Tensor:
    return completions.input_ids[:, -completions.completion_length :][_mask(completions)]


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens[:, None])[:, 0]


def _sum(per_token: Tensor, completions: Completions) -> Tensor:
    """Sums over the tokens of each row, in float64; shape (..., tokens) to (..., batch)."""
    total = torch.zeros(
        *per_token.shape[:-1],
        len(completions.input_ids),
        dtype=torch.double,
        device=per_token.device,
    )
    return total.index_add(-1, _rows(completions), per_token.double())
