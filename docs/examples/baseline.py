"""Average the square roots of the next-token probabilities: between DeRa's mean and an ensemble's.

DeRa takes the geometric mean of the two models' probabilities, and an ensemble the arithmetic one.
The power mean with exponent 1/2 lies between them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dera.model.realigned import RealignedModel
from eval.combining import Combined

NAME = "square-roots"
TITLE = "mixing square roots of probabilities"
KNOB = "share of the aligned model"
KNOB_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
OPTIONS = {}
PAPER = "the power mean with exponent 1/2"
PASSES = 2
DECODED = True


def policy(pair: RealignedModel, knob: float, options: dict[str, Any]) -> Combined:
    """Decode with `((1 - knob) * sqrt(p_ref) + knob * sqrt(p_aligned))^2`, normalised."""

    def combine(reference: Tensor, aligned: Tensor) -> Tensor:
        # Both inputs are log-probabilities, so half of one is the logarithm of the square root.
        from_reference = math.log1p(-knob) + reference / 2
        from_aligned = math.log(knob) + aligned / 2
        return 2 * torch.logaddexp(from_reference, from_aligned)

    return Combined(pair, combine)
