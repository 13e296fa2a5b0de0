"""Speculative decoding as `generate` and `sample_completions` call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping

from dera.model.padding import positions_of
from dera.speculative.rounds import Rounds
from dera.speculative.unsupported import serves, serves_prepared


@dataclass
class Speculation:
    """What a speculative `generate` did, which is kept in `model.last_speculation`.

    Attributes:
        rounds: how often tokens were drafted and verified.
        drafted: how many tokens were drafted, over all rows.
        accepted: how many of these the text kept.
        passes: how often each model was called, by name.
    """

    rounds: int
    drafted: int
    accepted: int
    passes: dict[str, int]


def speculate(
    model: Any,
    input_ids: Tensor,
    logits_processor: processing.LogitsProcessorList,
    stopping_criteria: stopping.StoppingCriteriaList,
    generation_config: Any,
    **model_kwargs: Any,
) -> Tensor:
    """Decode a realigned model speculatively: transformers' `custom_generate`.

    Returns:
        The prompts with their completions, shape (batch, time).
    """
    if not serves_prepared(model, logits_processor, stopping_criteria, model_kwargs):
        return model._sample(
            input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
        )
    pad = generation_config._pad_token_tensor
    rounds = Rounds(
        model,
        input_ids,
        logits_processor,
        stopping_criteria,
        sampling=generation_config.do_sample,
        pad=0 if pad is None else int(pad),
        **model_kwargs,
    )
    return _run(model, rounds)


def completions_of(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    weights: Tensor,
    max_new_tokens: int,
    ends: Sequence[int],
    pad: int,
    **options: Any,
) -> Tensor | None:
    """Complete prompts padded at the left, without what `generate` prepares.

    Args:
        weights: lam of each row and aligned model, shape (batch, models).
        max_new_tokens: no completion has more tokens.
        ends: the tokens that end a completion.
        pad: the token that fills shorter rows.
        **options: `do_sample`, and any other arguments of the caller, by which it is decided
            whether speculative decoding supports the call.

    Returns:
        The completions, shape (batch, time); None, after a warning, where decoding must be plain.
    """
    width = input_ids.shape[1]
    processors = processing.LogitsProcessorList()
    criteria = stopping.StoppingCriteriaList(
        [
            stopping.MaxLengthCriteria(width + max_new_tokens),
            stopping.EosTokenCriteria(list(ends)),
        ]
    )
    inputs = dict(
        lam=weights, attention_mask=attention_mask, position_ids=positions_of(attention_mask)
    )
    if not serves(model, weights, dict(options, num_beams=1)):
        return None
    if not serves_prepared(model, processors, criteria, inputs):
        return None
    rounds = Rounds(model, input_ids, processors, criteria, options["do_sample"], pad, **inputs)
    return _run(model, rounds)[:, width:]


def _run(model: Any, rounds: Rounds) -> Tensor:
    """Decode all rows, and leave a record of it in `model.last_speculation`."""
    texts = rounds.run()
    passes = rounds.batch.parts.passes()
    model.last_speculation = Speculation(rounds.rounds, rounds.drafted, rounds.accepted, passes)
    return texts
