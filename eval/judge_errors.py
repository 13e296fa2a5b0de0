"""What a judge that errs makes of a difference between two shares, and how to take it back.

A judge misses a part of the texts that do something, such as to refuse, and imagines it of a part
of the others. A true share `p` is then judged to be `imagined + p * (1 - missed - imagined)`. So a
difference between two policies comes out smaller than it is, by the factor `1 - missed - imagined`,
which is Youden's index. It does not change its sign. This holds if the judge errs alike on both
policies; nothing here can tell whether it does.

The two error rates are known from texts that people labelled. They are estimated as the mean of
their posterior distribution after a uniform prior, so that a rate is not taken for 0 because no
error was found.
"""

from __future__ import annotations

import dataclasses
import math

from eval.statistics import Measurement
from tasks.text.rates import JudgeErrors, Rate


def corrected(difference: Measurement, errors: JudgeErrors | None) -> Measurement:
    """Return a difference between two judged shares as a judge without errors would find it.

    Its error has what the labelled texts leave open. It is that of a ratio, to the first order (the
    delta method). The degrees of freedom are left as they are.

    Args:
        difference: the difference as it was judged.
        errors: of the judge; None if it makes none.

    Raises:
        ValueError: if the judge is wrong as often as right.
    """
    if errors is None:
        return difference
    missed, var_missed = _posterior(errors.missed)
    imagined, var_imagined = _posterior(errors.imagined)
    index = 1 - missed - imagined
    if index <= 0:
        raise ValueError(
            f"the judge misses {errors.missed} and imagines {errors.imagined}, so it is wrong as "
            "often as right; a difference between shares says nothing then"
        )
    value = difference.value / index
    squared = difference.error**2 + value**2 * (var_missed + var_imagined)
    return dataclasses.replace(difference, value=value, error=math.sqrt(squared) / index)


def _posterior(rate: Rate) -> tuple[float, float]:
    """Return the mean and the variance of a rate's posterior, which is a beta distribution."""
    mean = (rate.wrong + 1) / (rate.labelled + 2)
    return mean, mean * (1 - mean) / (rate.labelled + 3)
