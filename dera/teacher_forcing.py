"""Teacher forcing: what a model predicts at each token of completions that exist already.

The functions know which logits predict which token, and leave out padding. The tokens of a batch
stand in one row after the other, shape (tokens,), where the end-of-sequence token counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dera.completions import Completions
from dera.model.conventions import position_ids_for
from dera.model.realigned import RealignedModel
from dera.model.refusals import keeps_recurrent_state
from dera.model.row_selection import select_rows

#: Completions of about the same length that are read at once.
ROWS_OF_A_GROUP = 64

#: Calls a model with inputs. It returns the logits of each of the models that are read, and the
#: cache, if one is used.
Call = Callable[..., tuple[list[Tensor], Any]]


@torch.no_grad()
def next_token_log_probs(model: Any, completions: Completions) -> Tensor:
    """Return a model's next-token distributions at every token of completions.

    A prompt that occurs in several rows is read once, where the model is decoder-only and keeps
    nothing but keys and values. Some recurrent models forget a prompt that several tokens follow.

    Args:
        model: any transformers language model.
        completions: rows to read; the end-of-sequence token counts, padding does not.

    Returns:
        Log-probabilities in nats, float32 of shape (tokens, vocabulary).
    """

    def call(**inputs: Any) -> tuple[list[Tensor], Any]:
        output = model(**inputs)
        return [output.logits], output.past_key_values

    may_share = not keeps_recurrent_state(_base_of(model))
    return _read(model, call, completions, may_share)[0]


@torch.no_grad()
def parts_log_probs(model: RealignedModel, completions: Completions) -> list[Tensor]:
    """Return the next-token distributions of all models that a realigned model mixes.

    Adapters of one base read together, as they decode. A prompt that occurs in several rows is
    read once, where `next_token_log_probs` reads it once.

    Args:
        model: the realigned model, of one or several aligned models.
        completions: rows to read; the end-of-sequence token counts, padding does not.

    Returns:
        Log-probabilities in nats of the reference, and then of each aligned model, each float32 of
        shape (tokens, vocabulary).
    """
    # At lam = 0 nothing is mixed.
    lam = 0.0 if len(model.names) == 1 else dict.fromkeys(model.names, 0.0)

    def call(**inputs: Any) -> tuple[list[Tensor], Any]:
        output = model(**inputs, lam=lam, output_parts=True)
        return parts_logits(output), output.past_key_values

    may_share = not any(keeps_recurrent_state(part.base) for part in model.parts)
    return _read(model, call, completions, may_share)


def parts_logits(output: Any) -> list[Tensor]:
    """Return the logits that a realigned model has mixed, the reference's first."""
    aligned = output.aligned_logits
    return [output.reference_logits, *(aligned if isinstance(aligned, tuple) else [aligned])]


def inputs_of(model: Any, completions: Completions) -> dict[str, Any]:
    """Return the inputs of a call that predicts the completion tokens and one token more."""
    if completions.encoder_input_ids is not None:
        return dict(
            input_ids=completions.encoder_input_ids,
            attention_mask=completions.encoder_attention_mask,
            decoder_input_ids=completions.input_ids,
            use_cache=False,
        )
    mask = completions.attention_mask
    return dict(
        input_ids=completions.input_ids,
        attention_mask=mask,
        position_ids=position_ids_for(model, mask),
        logits_to_keep=completions.completion_length + 1,
        use_cache=False,
    )


def predicting(logits: Tensor, completions: Completions) -> Tensor:
    """Return the logits that predict completion tokens, shape (batch, completion, vocabulary)."""
    return logits[:, -completions.completion_length - 1 : -1]


def normalised(logits: Tensor) -> Tensor:
    """Return log-probabilities in float32."""
    return logits.float().log_softmax(-1)


def at_tokens(values: Tensor, tokens: Tensor) -> Tensor:
    """Return each row's value at its token: shape (tokens, vocabulary) to (tokens,)."""
    return values.gather(-1, tokens[:, None])[:, 0]


def mask_of(completions: Completions) -> Tensor:
    """Return which columns of each completion hold tokens, shape (batch, completion)."""
    return completions.attention_mask[:, -completions.completion_length :].bool()


def rows_of(completions: Completions) -> Tensor:
    """Return the row of each completion token, shape (tokens,). Padding is left out."""
    return mask_of(completions).nonzero()[:, 0]


def tokens_of(completions: Completions) -> Tensor:
    """Return the ids of all completion tokens, row by row, shape (tokens,). Padding is left out."""
    return completions.input_ids[:, -completions.completion_length :][mask_of(completions)]


def sum_over_tokens(per_token: Tensor, completions: Completions) -> Tensor:
    """Sum over the tokens of each row, in float64: shape (..., tokens) to (..., batch)."""
    shape = (*per_token.shape[:-1], len(completions.input_ids))
    total = torch.zeros(shape, dtype=torch.double, device=per_token.device)
    return total.index_add(-1, rows_of(completions), per_token.double())


def _base_of(model: Any) -> Any:
    """Return the transformers model itself, without a PEFT model around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _read(model: Any, call: Call, completions: Completions, may_share: bool) -> list[Tensor]:
    """Return the log-probabilities of the models that one call reads, at every token.

    Args:
        model: the model that is called, which counts positions.
        call: calls it.
        completions: the rows to read.
        may_share: whether the model, if it is decoder-only, may read a prompt once for all rows.
    """
    if completions.encoder_input_ids is None and may_share:
        return _after_shared_prompts(model, call, completions)
    all_logits, _ = call(**inputs_of(model, completions))
    mask = mask_of(completions)
    return [normalised(predicting(logits, completions)[mask]) for logits in all_logits]


def _after_shared_prompts(model: Any, call: Call, completions: Completions) -> list[Tensor]:
    """Return what `_read` does, for a decoder-only model.

    Rows are read in groups of about the same length, so that little padding is read.
    """
    # Find the distinct prompts; padding has one value in a batch, so that equal rows are equal.
    prompt_length = completions.input_ids.shape[1] - completions.completion_length
    ids = completions.input_ids[:, :prompt_length]
    mask = completions.attention_mask[:, :prompt_length]
    distinct, row_prompts = torch.cat([ids, mask], dim=1).unique(dim=0, return_inverse=True)
    ids, mask = distinct.split(prompt_length, dim=1)

    # Read each prompt once. Its last token predicts the first token of every completion.
    of_prompts, prompts_cache = call(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position_ids_for(model, mask),
        logits_to_keep=1,
        use_cache=True,
    )
    is_token = mask_of(completions)
    places = is_token.flatten().cumsum(0).view(is_token.shape) - 1
    tokens = int(is_token.sum())
    all_log_probs = []
    for logits in of_prompts:
        log_probs = logits.new_empty(tokens, logits.shape[-1], dtype=torch.float32)
        log_probs[places[:, 0]] = normalised(logits[row_prompts, 0])
        all_log_probs.append(log_probs)

    # Read all completion tokens but the last, each row after a copy of its prompt.
    lengths = is_token.sum(-1)
    for rows in lengths.argsort().split(ROWS_OF_A_GROUP):
        longest = int(lengths[rows].max())
        if longest == 1:
            continue
        end = prompt_length + longest - 1
        cache = copy.deepcopy(prompts_cache)
        select_rows(cache, row_prompts[rows])
        mask = completions.attention_mask[rows, :end]
        of_rows, _ = call(
            input_ids=completions.input_ids[rows, prompt_length:end],
            attention_mask=mask,
            position_ids=position_ids_for(model, mask)[:, prompt_length:],
            past_key_values=cache,
            use_cache=True,
        )
        predicted = is_token[rows, 1:longest]
        at = places[rows, 1:longest][predicted]
        for log_probs, logits in zip(all_log_probs, of_rows, strict=True):
            log_probs[at] = normalised(logits[predicted])
    return all_log_probs
