"""What a judge that errs makes of a change in a share, and how to take it back.

Every whole text either does something, such as to refuse, or does not. A judge misses it in a part
of the texts that do, and imagines it in a part of the others. If a share `p` of all texts truly
does it, and a share `w` is whole, then the judge finds `imagined * w + (1 - missed - imagined) *
p`. So a change in `p` comes out smaller than it is, by the factor `1 - missed - imagined` (Youden's
index), and a change in `w` is added to it. This holds if the judge errs alike on both policies;
nothing here can tell whether it does.

The two rates of error are known from texts that people labelled.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from dera.estimators import Array
from eval.statistics import Measurement, measure
from tasks.text.rates import JudgeErrors


def corrected(judged: Array, whole: Array, errors: JudgeErrors) -> Measurement:
    """Return the mean change in a share as a judge without errors would find it.

    Its error has what the labelled texts leave open about the rates, to the first order (the delta
    method). The degrees of freedom are those of the change as it was judged.

    Args:
        judged: the change in the share that the judge found, shape (seeds, prompts). A prompt that
            the share does not apply to has NaN.
        whole: the change in the share of whole texts, of the same shape.
        errors: of the judge; where the share is of texts that do *not* do it, `errors.swapped()`.
    """
    missed, missed_variance = errors.missed.posterior()
    imagined, imagined_variance = errors.imagined.posterior()
    index = 1 - missed - imagined
    true = (judged - imagined * whole) / index
    measured = measure(true)

    # How the mean would change with either rate.
    mean_whole = float(np.nanmean(np.where(np.isnan(judged), np.nan, whole)))
    by_missed = measured.value / index
    by_imagined = (measured.value - mean_whole) / index
    squared = measured.error**2
    squared += by_missed**2 * missed_variance + by_imagined**2 * imagined_variance
    return dataclasses.replace(measured, error=math.sqrt(squared))
