"""The mixing weight lam: numbers for rows and aligned models, schedules, and KL strengths.

A caller may give one number, a number for each row or for each aligned model, a function of the
position in the completion, or a strength beta. This module makes tensors of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

#: A function from positions in the completion (0 is its first token), int64 of shape (time,), to
#: lam at each. The result has shape (time,), or (time, n) for n aligned models.
Schedule = Callable[[Tensor], Tensor]

#: What callers may pass as `lam`. With one aligned model: one number, or a number for each row.
#: With n aligned models: a number for each model (a sequence of n, or a mapping from names, 0 where
#: a name is missing), or an array of shape (batch, n). In both cases also a `Schedule`.
Lam = float | int | Fraction | Sequence[Any] | Mapping[str, float] | Tensor | Schedule


def as_lam(
    lam: Lam,
    batch_size: int,
    device: torch.device | str = "cpu",
    names: Sequence[str] = ("aligned",),
) -> Tensor:
    """Return `lam` as a float32 tensor of shape (batch_size, number of aligned models).

    Args:
        lam: any `Lam` that is not a schedule.
        batch_size: the number of rows.
        device: the device of the result.
        names: the names of the aligned models.

    Raises:
        ValueError: if `lam` is a schedule, is not numbers, is not finite, names an unknown model,
            or has a shape that `Lam` does not list.
    """
    models = len(names)
    if isinstance(lam, Mapping):
        unknown = set(lam) - set(names)
        if unknown:
            raise ValueError(
                f"lam names {sorted(unknown)}, but the aligned models are {list(names)}: "
                "use these names"
            )
        lam = [[lam.get(name, 0.0) for name in names]] * batch_size
    if callable(lam):
        raise ValueError("a schedule of lam is for generate and forward: here lam must be numbers")

    # Make a tensor whose last axis is the aligned models.
    try:
        weights = torch.as_tensor(_plain(lam), dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"lam must be numbers, got {lam!r}: {error}") from error
    if not torch.isfinite(weights).all():
        raise ValueError(f"lam must be finite, got {lam}")
    if models == 1 and weights.ndim < 2:
        weights = weights[..., None]

    # Give every row its weights.
    if weights.shape == (models,):
        return weights.expand(batch_size, models)
    if weights.shape == (batch_size, models):
        return weights
    if models == 1:
        remedy = f"one number, or a one-dimensional sequence of {batch_size} numbers"
    else:
        remedy = (
            f"one number for each of the {models} aligned models {list(names)}, "
            f"or shape ({batch_size}, {models}) for one a row"
        )
    raise ValueError(
        f"lam has shape {_shape(lam)}, but the batch has {batch_size} rows: give {remedy}"
    )


def scheduled_lam(
    schedule: Schedule, positions: Tensor, names: Sequence[str] = ("aligned",)
) -> Tensor:
    """Evaluate a schedule at positions of shape (batch, time).

    Returns:
        Float32 of shape (batch, time, number of aligned models).

    Raises:
        ValueError: if the schedule returns numbers that are not finite, or another shape than
            `Schedule` says.
    """
    steps, where = positions.unique(return_inverse=True)
    values = torch.as_tensor(schedule(steps), dtype=torch.float32, device=positions.device)
    if values.ndim == 1 and len(names) == 1:
        values = values[:, None]
    if values.shape != (len(steps), len(names)):
        raise ValueError(
            f"the lam schedule returned shape {tuple(values.shape)} for {len(steps)} positions "
            f"and {len(names)} models: it must return a number for each position and model"
        )
    if not torch.isfinite(values).all():
        raise ValueError(
            f"lam must be finite, but the schedule gave {values.tolist()} "
            f"at positions {steps.tolist()}"
        )
    return values[where]


def lam_of_columns(
    lam: Lam,
    tokens: Tensor,
    past: int,
    completion_start: int | Tensor,
    logits_to_keep: int,
    names: Sequence[str],
) -> Tensor:
    """Return lam for the tokens that a call predicts.

    Args:
        lam: any `Lam`.
        tokens: the tokens of the call, shape (batch, time).
        past: how many columns a cache holds before these tokens.
        completion_start: the column of the completion's first token; one number, or one a row.
        logits_to_keep: how many of the last columns get logits; 0 for all.
        names: the names of the aligned models.

    Returns:
        Shape (batch, number of aligned models); for a schedule (batch, columns, number of aligned
        models). A column before the completion gets lam of the completion's first token.
    """
    batch_size, time = tokens.shape
    if not callable(lam):
        return as_lam(lam, batch_size, tokens.device, names)
    predicted = torch.arange(past + 1, past + time + 1, device=tokens.device)[-logits_to_keep:]
    starts = torch.as_tensor(completion_start, device=tokens.device).reshape(-1, 1)
    positions = (predicted - starts).clamp(min=0).expand(batch_size, -1)
    return scheduled_lam(lam, positions, names)


def linear_schedule(start: float, end: float, over: int) -> Schedule:
    """Return a schedule that goes from `start` to `end` and stays there.

    Args:
        start: lam at the first token of the completion.
        end: lam at token number `over` and after it.
        over: how many tokens the change takes.

    Raises:
        ValueError: if `over` is not positive.
    """
    if over < 1:
        raise ValueError(f"a schedule needs at least one token to go over, got over={over}")
    return lambda positions: start + (end - start) * (positions / over).clamp(max=1)


def lam_from_beta(beta: float, aligned_beta: float | None) -> float:
    """Return the mixing weight that realigns to strength `beta` (paper, Proposition 1).

    Args:
        beta: the KL strength to realign to.
        aligned_beta: the KL strength that the aligned model was trained at.

    Raises:
        ValueError: if `aligned_beta` is unknown, or a strength is not a positive finite number.
    """
    if aligned_beta is None:
        raise ValueError(
            "beta= needs the strength the aligned model was trained at: "
            "pass aligned_beta= when loading it"
        )
    for name, value in (("beta", beta), ("aligned_beta", aligned_beta)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive finite number, got {value}")
    return aligned_beta / beta


def _plain(lam: Any) -> Any:
    """Replace fractions, which torch does not know, by floats, in lists of any depth."""
    if isinstance(lam, Fraction):
        return float(lam)
    if isinstance(lam, (list, tuple)):
        return [_plain(item) for item in lam]
    return lam


def _shape(lam: Any) -> tuple[int, ...]:
    """Return the shape of numbers in lists of any depth."""
    return tuple(torch.as_tensor(_plain(lam)).shape)
