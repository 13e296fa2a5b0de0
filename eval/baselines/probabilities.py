"""Take the arithmetic mean of the two models' next-token probabilities, not the geometric one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dera.model.realigned import RealignedModel
from eval.combining import Combine, Combined

NAME = "probabilities"
TITLE = "mixing probabilities"
KNOB = "share of the aligned model"
KNOB_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
OPTIONS = {}
PAPER = "ensembles; the arithmetic mean where DeRa takes the geometric one"
PASSES = 2
DECODED = True


def policy(pair: RealignedModel, knob: float, options: dict[str, Any]) -> Combined:
    """Decode with the probabilities `(1 - knob) * p_ref + knob * p_aligned`."""
    return Combined(pair, of_probabilities(knob))


def of_probabilities(share: float) -> Combine:
    """Return the rule `(1 - share) * p_ref + share * p_aligned`, computed in log space."""

    def combine(reference: Tensor, aligned: Tensor) -> Tensor:
        return torch.logaddexp(reference + math.log1p(-share), aligned + math.log(share))

    return combine
