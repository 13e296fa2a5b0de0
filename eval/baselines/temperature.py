"""Sample from the aligned model alone at another temperature."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dera.model.realigned import RealignedModel
from eval.combining import Combine, Combined

NAME = "temperature"
TITLE = "the aligned model's temperature"
KNOB = "temperature"
KNOB_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "maximum": 1000}
OPTIONS = {}
PAPER = "the simplest knob there is"
PASSES = 1
DECODED = True


def policy(pair: RealignedModel, knob: float, options: dict[str, Any]) -> Combined:
    """Decode the aligned model at the temperature `knob`.

    The reference runs beside it only to score the completions.
    """
    return Combined(pair, of_temperature(knob))


def of_temperature(temperature: float) -> Combine:
    """Return the rule that divides the aligned model's logits by the temperature."""

    def combine(reference: Tensor, aligned: Tensor) -> Tensor:
        return aligned / temperature

    return combine
