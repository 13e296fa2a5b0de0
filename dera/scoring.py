"""Log-probabilities of completions under each model that a policy is made of, summed over tokens.

There are two ways to get them. `sample_and_score` and `sample_and_score_policy` add them up while
they decode, because decoding computes the logits of every model anyway. `score_completions` and
`log_probabilities` read completions that exist already.

Every per-token log-probability is computed in float32 and every sum over tokens in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.decoding import Completions, sample_completions
from dera.mixing import mix_logits
from dera.model.modules import input_device
from dera.model.realigned import RealignedModel
from dera.prompts import as_prompts
from dera.teacher_forcing import (
    at_tokens,
    next_token_log_probs,
    normalised,
    parts_log_probs,
    parts_logits,
    rows_of,
    sum_over_tokens,
    tokens_of,
)
from dera.weights import Lam, as_lam


@dataclass(frozen=True)
class SequenceScores:
    """Log-probabilities of completions under a realigned model and its parts, float64, in nats.

    Attributes:
        reference: under the reference, shape (batch,).
        aligned: under the aligned model, shape (batch,); with n aligned models, shape (n, batch).
        sampler: under the realigned model, which draws token by token, shape (batch,).
        log_weight: `sum_t log Z_t`, shape (batch,). For a completion that the sampler drew at that
            lam, this is its unnormalised log importance weight toward the exact geometric mixture
            of the paper's Proposition 1, `pi_ref * prod_i (pi_i / pi_ref)^lam_i`.
    """

    reference: Tensor
    aligned: Tensor
    sampler: Tensor
    log_weight: Tensor


@dataclass(frozen=True)
class PolicyScores:
    """Log-probabilities of completions under a policy and its two models, float64, in nats.

    Attributes:
        policy: under the policy that sampled them, shape (batch,).
        reference: under the reference, shape (batch,).
        aligned: under the aligned model, shape (batch,).
    """

    policy: Tensor
    reference: Tensor
    aligned: Tensor


@torch.no_grad()
def sample_and_score(
    model: RealignedModel, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int, lam: Lam
) -> tuple[Completions, SequenceScores]:
    """Sample one completion a prompt from a realigned model, and score it in the same pass.

    Args:
        model: the realigned model, of one or several aligned models.
        tokenizer, prompts, max_new_tokens: as for `sample_completions`.
        lam: mixing weight, any `dera.weights.Lam` but a schedule: one number, one a row, or for n
            aligned models an array of shape (batch, n).

    Raises:
        ValueError: if `lam` is a schedule, is not finite or has a wrong shape; and as
            `sample_completions` does.
    """
    prompts = as_prompts(prompts)
    weights = as_lam(lam, len(prompts), input_device(model), model.names)

    def token_scores(rows: Tensor, output: Any, tokens: Tensor) -> Tensor:
        log_probs = [normalised(part[:, -1]) for part in parts_logits(output)]
        return _mixture_token_scores(log_probs, weights[rows], tokens)

    scores = len(model.parts) + 2
    completions, sums = _sample_and_sum(
        model, tokenizer, prompts, max_new_tokens, weights, scores, token_scores
    )
    return completions, _sequence_scores(sums)


@torch.no_grad()
def sample_and_score_policy(
    policy: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int
) -> tuple[Completions, PolicyScores]:
    """Sample one completion a prompt from a policy of two models, and score it in the same pass.

    Args:
        policy: what `sample_completions` can decode. Its output has `logits` (the policy's own),
            `reference_logits` and `aligned_logits`, each of shape (batch, time, vocabulary).
        tokenizer, prompts, max_new_tokens: as for `sample_completions`.

    Raises:
        ValueError: where `sample_completions` raises one.
    """

    prompts = as_prompts(prompts)

    def token_scores(rows: Tensor, output: Any, tokens: Tensor) -> Tensor:
        all_logits = (output.logits, output.reference_logits, output.aligned_logits)
        scores = [at_tokens(normalised(logits[:, -1]), tokens) for logits in all_logits]
        return torch.stack(scores).double()

    completions, sums = _sample_and_sum(
        policy, tokenizer, prompts, max_new_tokens, None, 3, token_scores
    )
    return completions, PolicyScores(*sums)


@torch.no_grad()
def score_completions(model: RealignedModel, completions: Completions, lam: Lam) -> SequenceScores:
    """Score completions under the reference, the aligned models and the sampler at `lam`.

    Args:
        model: the realigned model, of one or several aligned models.
        completions: rows to score; the end-of-sequence token counts, padding does not.
        lam: mixing weight, as for `sample_and_score`.

    Raises:
        ValueError: if `lam` is a schedule, is not finite or has a wrong shape.
    """
    input_ids = completions.input_ids
    weights = as_lam(lam, len(input_ids), input_ids.device, model.names)
    log_probs = parts_log_probs(model, completions)
    of_tokens = weights[rows_of(completions)]
    token_scores = _mixture_token_scores(log_probs, of_tokens, tokens_of(completions))
    return _sequence_scores(sum_over_tokens(token_scores, completions))


@torch.no_grad()
def log_probabilities(model: Any, completions: Completions) -> Tensor:
    """Return log-probabilities of completions under one model, float64, shape (batch,), in nats."""
    log_probs = next_token_log_probs(model, completions)
    return sum_over_tokens(at_tokens(log_probs, tokens_of(completions)), completions)


def _sample_and_sum(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    lam: Tensor | None,
    scores: int,
    token_scores: Callable[[Tensor, Any, Tensor], Tensor],
) -> tuple[Completions, Tensor]:
    """Sample completions and sum scores of their tokens, float64 of shape (scores, batch).

    Args:
        scores: how many scores each token has.
        token_scores: a function of the rows still being decoded, the model's output for them and
            the tokens chosen. It returns the scores of these tokens, float64 of shape (scores,
            rows).
    """
    sums = torch.zeros(scores, len(prompts), dtype=torch.double)

    def add(rows: Tensor, output: Any, tokens: Tensor) -> None:
        sums[:, rows.cpu()] += token_scores(rows, output, tokens).cpu()

    completions = sample_completions(
        model, tokenizer, prompts, max_new_tokens, lam=lam, on_step=add
    )
    return completions, sums


def _mixture_token_scores(log_probs: Sequence[Tensor], weights: Tensor, tokens: Tensor) -> Tensor:
    """Score tokens under the sampler, the reference and each aligned model, and add log Z_t.

    Args:
        log_probs: the next-token log-probabilities of the reference and then of each aligned model,
            each of shape (tokens, vocabulary).
        weights: lam of each token and aligned model, shape (tokens, models).
        tokens: ids, shape (tokens,).

    Returns:
        float64 of shape (models + 3, tokens); the last row is log Z_t.
    """
    reference, *aligned = log_probs
    mixed = mix_logits(reference, aligned, weights)
    log_z = mixed.logsumexp(-1)  # log Z_t, because all parts are normalised
    sampler = at_tokens(mixed, tokens) - log_z
    under_parts = [at_tokens(part, tokens) for part in (reference, *aligned)]
    return torch.stack([sampler, *under_parts, log_z]).double()


def _sequence_scores(sums: Tensor) -> SequenceScores:
    """Return the sums over tokens of what `_mixture_token_scores` returns, by their names."""
    aligned = sums[2:-1]
    return SequenceScores(
        reference=sums[1],
        aligned=aligned[0] if len(aligned) == 1 else aligned,
        sampler=sums[0],
        log_weight=sums[-1],
    )
