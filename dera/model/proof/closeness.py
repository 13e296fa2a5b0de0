"""How far apart the logits of two readings may be, for the precision of the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: The largest error of logits in full precision, and in half precision.
FULL, HALF = 1e-3, 0.2

#: The largest error where rounding may send a token to another expert, or weights are quantised.
COARSE = 0.5

#: Models mask tokens with the smallest number of their precision, which is no logit.
_LARGEST_LOGIT = 1e6


def error_of(got: Tensor, expected: Tensor) -> float:
    """Return the mean distance of logits, as a multiple of how far the expected ones spread.

    It is about 1 for logits that have nothing to do with each other, and infinite where a logit is
    missing or is no number.

    Args:
        got: logits, the vocabulary last.
        expected: logits of the same shape.
    """
    got, expected = got.detach().float().cpu(), expected.detach().float().cpu()
    if got.shape != expected.shape:
        return torch.inf
    is_logit = expected.abs() < _LARGEST_LOGIT
    if not is_logit.any():
        return 0.0
    distance = (got - expected)[is_logit].abs().mean()
    center = expected[is_logit].mean()
    spread = (expected[is_logit] - center).abs().mean()
    error = distance / spread if spread > 0 else distance
    return error.item() if error.isfinite() else torch.inf


def is_quantised(base: Any) -> bool:
    """Return whether weights of a transformers model are held in a few bits."""
    return getattr(base.config, "quantization_config", None) is not None


def tolerance_of(bases: Sequence[Any]) -> float:
    """Return how large an error rounding explains in the coarsest of some transformers models."""
    return max(_tolerance(base) for base in bases)


def _tolerance(base: Any) -> float:
    config = base.config.get_text_config(decoder=True)
    if is_quantised(base):
        return COARSE
    is_half = any(
        parameter.is_floating_point() and parameter.element_size() < 4
        for parameter in base.parameters()
    )
    if is_half:
        names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
        return COARSE if any(getattr(config, name, None) for name in names) else HALF
    return 1e-2 if base.device.type != "cpu" else FULL
