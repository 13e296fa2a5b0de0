"""The lam of a running call of `generate`, for whatever calls the model again meanwhile.

A logits processor, a stopping criterion or transformers itself may call the model while `generate`
runs. Such a call names no lam, and it gets the lam of the `generate` that it belongs to. A context
variable holds it, so that each thread and each asynchronous task has its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from dera.weights import Lam

#: The lam of each model whose `generate` is running in this context, by the model's id.
_LAMS: ContextVar[Mapping[int, Lam] | None] = ContextVar("lams", default=None)


@contextmanager
def lam_of_call(model: Any, lam: Lam) -> Iterator[None]:
    """Return a context in which calls of the model that name no lam get this one."""
    token = _LAMS.set({**_lams(), id(model): _of_any_rows(lam)})
    try:
        yield
    finally:
        _LAMS.reset(token)


def replace_lam_of_call(model: Any, lam: Lam) -> None:
    """Put the lam of the repeated rows in the place of the one that `generate` was called with.

    It lasts until the context of `lam_of_call` ends.
    """
    if id(model) in _lams():
        _LAMS.set({**_lams(), id(model): _of_any_rows(lam)})


def current_lam(model: Any) -> Lam | None:
    """Return the lam of the `generate` that is running; None if none is."""
    return _lams().get(id(model))


def check_no_schedule_of_call(lam: Lam | None) -> None:
    """Refuse a schedule from `generate` for a call that says not where the completion starts.

    Raises:
        ValueError: if the lam of the running `generate` is a schedule.
    """
    if callable(lam):
        raise ValueError(
            "lam is a schedule in this generate, and the model was called inside it without lam: "
            "pass lam= and completion_start= to that call"
        )


def _lams() -> Mapping[int, Lam]:
    return _LAMS.get() or {}


def _of_any_rows(lam: Lam) -> Lam:
    """Return a lam that serves any number of rows, if all rows have the same."""
    if not isinstance(lam, Tensor) or lam.ndim < 2 or not torch.equal(lam, lam[:1].expand_as(lam)):
        return lam
    return lam[0].item() if lam.shape[1] == 1 else lam[0]
