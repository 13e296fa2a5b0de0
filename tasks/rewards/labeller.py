"""The labeller of preference pairs, who is noisy and may like length: Bradley and Terry's model with a bias."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any


def utilities(
    gold: Sequence[float], completion_ids: Sequence[Sequence[int]], settings: Mapping[str, Any]
) -> list[float]:
    """What each completion is worth to the labeller, in log-odds: `sharpness * gold + length_bias * tokens`.

    Args:
        gold: the task's verdicts.
        completion_ids: tokens of each completion, the end-of-sequence token not among them.
        settings: the config's `preferences` section.
    """
    sharpness, bias = settings["sharpness"], settings.get("length_bias", 0.0)
    return [
        sharpness * value + bias * len(ids) for value, ids in zip(gold, completion_ids, strict=True)
    ]


def prefers_first(rng: random.Random, first: float, second: float) -> bool:
    """True if the labeller prefers the first of two completions of these utilities, with probability sigmoid(first - second)."""
    return (
        rng.random() < (1.0 + math.tanh((first - second) / 2)) / 2
    )  # the logistic function, which cannot overflow in this form
