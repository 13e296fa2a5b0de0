"""Sampling completions of many prompts from any transformers model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dera.completions import Completions, end_tokens, is_end
from dera.drawing import draw
from dera.model.modules import input_device
from dera.model.realigned import RealignedModel
from dera.prompts import as_prompts
from dera.rows import Prompts, Rows, batch_of
from dera.speculative.loop import completions_of
from dera.weights import Lam, as_lam

__all__ = [
    "Completions",
    "Rows",
    "batch_of",
    "check_max_new_tokens",
    "end_tokens",
    "is_end",
    "sample_completions",
]

#: Called after each token, with the rows still being decoded, the model's output and the tokens.
OnStep = Callable[[Tensor, Any, Tensor], None]


@torch.no_grad()
def sample_completions(
    model: Any,
    tokenizer: Any,
    prompts: Prompts,
    max_new_tokens: int,
    lam: Lam | None = None,
    greedy: bool = False,
    on_step: OnStep | None = None,
    generator: torch.Generator | None = None,
    speculative: bool = False,
) -> Completions:
    """Sample one completion a prompt from the model's own distribution.

    The temperature is 1 and no token is excluded. The distribution is that of `generate`, but rows
    that have ended leave the batch. The cost of a batch therefore grows with the sum of its
    completions' lengths, and a single long completion does not make every row expensive.

    Args:
        model: any transformers language model, a `RealignedModel` included.
        tokenizer: its tokenizer, with a padding token.
        prompts: one row each, all as texts, all as token ids or (with a `ChatTokenizer`) all as
            conversations. Repeat a prompt to get more than one sample of it. A text alone is one
            prompt.
        max_new_tokens: a completion that has not ended by then is cut there.
        lam: for a `RealignedModel`: the mixing weight, any `dera.weights.Lam`. When it is absent,
            the model's own is used.
        greedy: take the most probable token instead of sampling.
        on_step: called after each token with the rows still being decoded, shape (n,), the model's
            output for them, and the tokens chosen, shape (n,). The output of a `RealignedModel`
            then has the logits of its parts too.
        generator: the source of randomness; torch's own when it is absent.
        speculative: for a `RealignedModel`: decode speculatively, as its `generate` does. Where
            `on_step` or a `generator` is given, texts are decoded plainly, with a warning.

    Raises:
        ValueError: if `max_new_tokens` is not positive, if `lam` is bad, if there is no
            end-of-sequence or no padding token, or if a prompt has no tokens.
    """
    check_max_new_tokens(max_new_tokens)
    prompts = as_prompts(prompts)
    batch = Rows(model, tokenizer, prompts)

    # Decode speculatively, if that was asked for and is supported.
    if speculative and isinstance(model, RealignedModel):
        completions = _speculate(
            batch, max_new_tokens, lam, do_sample=not greedy, on_step=on_step, generator=generator
        )
        if completions is not None:
            return completions

    # Otherwise decode plainly: one token at a time, for all rows that have not ended.
    arguments = _strength_arguments(batch, lam)
    if lam is not None:
        arguments["output_parts"] = on_step is not None
    device = input_device(model)
    drawn = torch.full((len(prompts), max_new_tokens), batch.pad, device=device)
    ends = torch.tensor(batch.ends, device=device)
    rows = torch.arange(len(prompts), device=device)  # the rows still being decoded
    for step in range(max_new_tokens):
        output = batch.forward(**arguments)
        logits = output.logits[:, -1].float()
        chosen = logits.argmax(-1) if greedy else draw(logits.softmax(-1), generator)
        drawn[rows, step] = chosen
        if on_step is not None:
            on_step(rows, output, chosen)

        # Rows that have ended leave the batch.
        ended = is_end(chosen, ends)
        if not ended.any():
            batch.advance(chosen)
            continue
        going = (~ended).nonzero()[:, 0]
        if not len(going):
            break
        rows = rows[going]
        arguments = _of_rows(arguments, going)
        batch.advance(chosen[going], going)
    return batch.completions(drawn[:, : step + 1])


def check_max_new_tokens(max_new_tokens: int) -> None:
    """Check that completions may have at least one token.

    Raises:
        ValueError: if `max_new_tokens` is below 1.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")


def _strength_arguments(batch: Rows, lam: Lam | None) -> dict[str, Any]:
    """Return the arguments that tell the model lam: a schedule, or a tensor of a row each."""
    if lam is None:
        return {}
    if callable(lam):
        return {"lam": lam, "completion_start": batch.start.shape[1]}
    model = batch.model
    return {"lam": as_lam(lam, len(batch.start), input_device(model), model.names)}


def _of_rows(arguments: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """Return the arguments for these of their rows. A tensor lam has an entry for each row."""
    lam = arguments.get("lam")
    return {**arguments, "lam": lam[rows]} if isinstance(lam, Tensor) else arguments


def _speculate(
    batch: Rows, max_new_tokens: int, lam: Lam | None, **options: Any
) -> Completions | None:
    """Complete all rows by speculative decoding.

    Returns:
        None, after a warning, where speculative decoding is unsupported.
    """
    model = batch.model
    weights: Any = model.strength(lam, None)
    if not callable(weights):
        weights = as_lam(weights, len(batch.start), input_device(model), model.names)
    model.last_speculation = None
    drawn = completions_of(
        model,
        batch.start,
        batch.mask,
        weights,
        max_new_tokens,
        batch.ends,
        batch.pad,
        **options,
    )
    return None if drawn is None else batch.completions(drawn)
