"""The labeller of preference pairs, who is noisy and may like length.

The labeller follows Bradley and Terry's model with a bias: a completion is preferred with the
probability that the logistic function gives to its advantage in utility.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def utilities(
    gold: Sequence[float],
    completion_ids: Sequence[Sequence[int]],
    sharpness: float,
    length_bias: float = 0.0,
) -> list[float]:
    """Return what each completion is worth to the labeller, in log-odds.

    This is `sharpness * gold + length_bias * tokens`.

    Args:
        gold: the task's verdict on each completion.
        completion_ids: the tokens of each completion, without the end-of-sequence token.
        sharpness: log-odds for one unit of gold.
        length_bias: log-odds for one token, which is what the labeller wrongly likes.
    """
    return [
        sharpness * value + length_bias * len(ids)
        for value, ids in zip(gold, completion_ids, strict=True)
    ]


def prefers_first(rng: random.Random, first: float, second: float) -> bool:
    """Draw whether the labeller prefers the first of two completions to the second.

    The probability is sigmoid(first - second).

    Args:
        rng: source of randomness.
        first, second: utilities of the two completions, in log-odds.
    """
    # This is the logistic function in a form that cannot overflow.
    probability = (1.0 + math.tanh((first - second) / 2)) / 2
    return rng.random() < probability
