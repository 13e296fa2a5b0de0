"""The mixing weight: as a number, one a row, one an aligned model, a schedule over positions, or a KL strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

#: A function from positions in the completion (0 is its first token), int64 of shape (time,), to lam at each, shape (time,) or
#: (time, n) for n aligned models.
Schedule = Callable[[Tensor], Tensor]

#: What callers may pass as `lam`. With one aligned model: one number, or one a row. With n: one number a model (a sequence of
#: n, or a mapping from names, 0 where a name is missing), or a (batch, n) array. In both cases a `Schedule`.
Lam = float | int | Fraction | Sequence[Any] | Mapping[str, float] | Tensor | Schedule


def as_lam(
    lam: Lam,
    batch_size: int,
    device: torch.device | str = "cpu",
    names: Sequence[str] = ("aligned",),
) -> Tensor:
    """Return `lam` as a float32 tensor of shape (batch_size, number of aligned models).

    Args:
        lam: any `Lam` but a schedule.
        batch_size: rows.
        device: where the result is wanted.
        names: of the aligned models.

    Raises:
        ValueError: if `lam` is a schedule, not numbers or not finite, names an unknown model, or has a shape other than those of `Lam`.
    """
    models = len(names)
    if isinstance(lam, Mapping):
        unknown = set(lam) - set(names)
        if unknown:
            raise ValueError(
                f"lam names {sorted(unknown)}, but the aligned models are {list(names)}"
            )
        lam = [[lam.get(name, 0.0) for name in names]] * batch_size
    if callable(lam):
        raise ValueError("a schedule of lam is for generate and forward: here lam must be numbers")
    try:
        weights = torch.as_tensor(_plain(lam), dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"lam must be numbers, got {lam!r}: {error}") from error
    if not torch.isfinite(weights).all():
        raise ValueError(f"lam must be finite, got {lam}")
    if models == 1 and weights.ndim < 2:
        weights = weights[..., None]
    if weights.shape == (models,):
        return weights.expand(batch_size, models)
    if weights.shape == (batch_size, models):
        return weights
    wanted = (
        f"one number, or a one-dimensional sequence of {batch_size} numbers"
        if models == 1
        else f"one number for each of the {models} aligned models {list(names)}, or shape ({batch_size}, {models}) for one a row"
    )
    raise ValueError(
        f"lam has shape {_shape(lam)}, but the batch has {batch_size} rows: give {wanted}"
    )


def scheduled_lam(
    schedule: Schedule, positions: Tensor, names: Sequence[str] = ("aligned",)
) -> Tensor:
    """Evaluate a schedule at positions of shape (batch, time); float32 of shape (batch, time, number of aligned models).

    Raises:
        ValueError: if what the schedule returns is not finite or has another shape than `Schedule` says.
    """
    steps, where = positions.unique(return_inverse=True)
    values = torch.as_tensor(schedule(steps), dtype=torch.float32, device=positions.device)
    if values.ndim == 1 and len(names) == 1:
        values = values[:, None]
    if values.shape != (len(steps), len(names)):
        raise ValueError(
            f"the lam schedule returned shape {tuple(values.shape)} for {len(steps)} positions and {len(names)} models"
        )
    if not torch.isfinite(values).all():
        raise ValueError(
            f"lam must be finite, but the schedule gave {values.tolist()} at positions {steps.tolist()}"
        )
    return values[where]


def linear_schedule(start: float, end: float, over: int) -> Schedule:
    """lam goes from `start` at the first token of the completion to `end` at token number `over`, and stays there.

    Raises:
        ValueError: if `over` is not positive.
    """
    if over < 1:
        raise ValueError(f"a schedule needs at least one token to go over, got over={over}")
    return lambda positions: start + (end - start) * (positions / over).clamp(max=1)


def lam_from_beta(beta: float, aligned_beta: float | None) -> float:
    """The mixing weight that realigns a model trained at `aligned_beta` to strength `beta` (paper, Proposition 1).

    Raises:
        ValueError: if `aligned_beta` is unknown, or either strength is not a positive finite number.
    """
    if aligned_beta is None:
        raise ValueError(
            "beta= needs the strength the aligned model was trained at: pass aligned_beta= when loading it"
        )
    for name, value in (("beta", beta), ("aligned_beta", aligned_beta)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive finite number, got {value}")
    return aligned_beta / beta


def _plain(lam: Any) -> Any:
    """Fractions, which torch does not know, as floats, however deep."""
    if isinstance(lam, Fraction):
        return float(lam)
    if isinstance(lam, (list, tuple)):
        return [_plain(item) for item in lam]
    return lam


def _shape(lam: Any) -> tuple[int, ...]:
    return tuple(torch.as_tensor(_plain(lam)).shape)
