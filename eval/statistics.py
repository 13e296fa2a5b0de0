"""A mean over training seeds and prompts with its error, and what that lets a claim say.

`measure` turns a table of values, one row a training seed and one column a prompt, into a
`Measurement`. A claim puts a measurement against a threshold or a margin (`above`, `below`,
`within`) and gets one of three outcomes. `power` and `power_within` say before a run how often a
test would find what is there. docs/statistics.md explains the choices, and shows how often the
intervals cover the truth and how often the tests err.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from dera.estimators import Array

#: A rate is tested only against thresholds at which so many prompts are expected to show the event.
MIN_RARE_PROMPTS = 10

#: Reweighted samples of a prompt are used only if they are worth so many independent ones. At 15
#: the 95% interval of a mean over 256 prompts covers the truth 93% of the time, and at 9 it is 57%.
MIN_EFFECTIVE_SAMPLES = 15

#: At how many points `power_within` averages over the error that a study may find.
QUADRATURE_POINTS = 64


class Outcome(enum.Enum):
    """What a test says of a statement: the data show it, refute it, or do neither."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "cannot tell"


@dataclass(frozen=True)
class Measurement:
    """A mean over training seeds and prompts, with the error that both leave.

    Attributes:
        value: the mean.
        error: its standard error, in the unit of the value.
        freedom: degrees of freedom of the error, at least 1.
        seeds: how many training seeds it rests on; 0 where no trained model is involved. The error
            of one seed is that of its prompts alone and says nothing of other seeds.
        prompts: how many prompts it rests on.
    """

    value: float
    error: float
    freedom: float
    seeds: int
    prompts: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the two-sided t interval; its ends meet where the error is 0.

        Raises:
            ValueError: if the confidence is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; give a number between 0 and 1")
        half_width = self.error * _t_quantile(self.freedom, (1 + confidence) / 2)
        return self.value - half_width, self.value + half_width

    def p_above(self, threshold: float) -> float:
        """Return the one-sided p-value against "the mean is at most `threshold`".

        Without any error it is 0 above the threshold, and 1 at the threshold and below.
        """
        return self._p_beyond(self.value - threshold)

    def p_below(self, threshold: float) -> float:
        """Return the one-sided p-value against "the mean is at least `threshold`"."""
        return self._p_beyond(threshold - self.value)

    def _p_beyond(self, distance: float) -> float:
        """Return the p-value of a mean that was found `distance` beyond a threshold."""
        if math.isnan(distance):
            raise ValueError("the threshold is not a number; give a finite threshold")
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))


def measure(values: Array, seeds: int | None = None) -> Measurement:
    """Return the mean over training seeds and prompts with its standard error.

    All seeds answer the same prompts, so a value is the sum of a mean, what its seed adds, what its
    prompt adds, and a rest. Other seeds and other prompts would have given another mean. The error
    counts both (docs/statistics.md).

    Args:
        values: shape (seeds, prompts). A prompt with a NaN is left out for all seeds.
        seeds: 0 says that the single row belongs to no training seed. Otherwise it is the number of
            rows, which need not be said.

    Raises:
        ValueError: if the shape does not fit, a value is infinite, or fewer than two prompts have
            values for every seed.
    """
    values = np.asarray(values, float)
    seeds = _checked_seeds(values, seeds)
    values = values[:, ~np.isnan(values).any(0)]
    prompts = values.shape[1]
    if prompts < 2:
        raise ValueError(
            f"{prompts} prompts have a value for every seed, but an error needs two; "
            "evaluate more prompts or leave out the seeds without values"
        )
    if not np.isfinite(values).all():
        raise ValueError("a value is infinite; give NaN where a prompt has no value")
    error, freedom = _error(values)
    return Measurement(float(values.mean()), error, freedom, seeds, prompts)


def measure_over_seeds(values: Array) -> Measurement:
    """Return the mean of one number a training seed, with its standard error over seeds.

    This is for numbers that are not means over prompts, such as a ratio of times.

    Args:
        values: shape (seeds,), at least two.

    Raises:
        ValueError: if there are fewer than two, or one is not finite.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"got the values {values.tolist()}; give at least two finite numbers, one a seed"
        )
    error = math.sqrt(values.var(ddof=1) / len(values))
    return Measurement(float(values.mean()), error, len(values) - 1.0, len(values), 0)


def _checked_seeds(values: Array, seeds: int | None) -> int:
    """Return how many training seeds the rows stand for."""
    if values.ndim != 2 or not len(values):
        raise ValueError(
            f"values have the shape {values.shape}; give one row a seed and one column a prompt"
        )
    if seeds is None:
        return len(values)
    if seeds != len(values) and (seeds, len(values)) != (0, 1):
        raise ValueError(
            f"seeds is {seeds}, but values have {len(values)} rows; "
            "give one row a seed, or seeds=0 with a single row"
        )
    return seeds


def _error(values: Array) -> tuple[float, float]:
    """Return the standard error of the mean of all values, and its degrees of freedom.

    The squared error is `variance of seed means / seeds + variance of prompt means / prompts - rest
    / (seeds * prompts)`, where the rest is what seed and prompt together do not explain. The first
    two terms both hold the rest, so it is taken off once. The squared error is never below the
    larger of the first two terms: the mean is no surer than over seeds alone, or prompts alone.
    """
    seeds, prompts = values.shape
    of_prompts = values.mean(0)
    from_prompts = of_prompts.var(ddof=1) / prompts
    if seeds == 1:
        return math.sqrt(from_prompts), prompts - 1.0

    # The two main terms, and what they count twice.
    of_seeds = values.mean(1)
    from_seeds = of_seeds.var(ddof=1) / seeds
    rest = values - of_seeds[:, None] - of_prompts + values.mean()
    counted_twice = (rest**2).sum() / ((seeds - 1) * (prompts - 1)) / (seeds * prompts)
    only_prompts = max(from_prompts - counted_twice, 0.0)
    squared = max(from_seeds + only_prompts, from_prompts)

    # Each term counts with its share of the squared error. Satterthwaite squares the shares, which
    # makes the tests of few seeds err too often (docs/statistics.md).
    weighted = from_seeds / (seeds - 1) + only_prompts / (prompts - 1)
    freedom = (from_seeds + only_prompts) / weighted if weighted > 0 else seeds - 1
    return math.sqrt(squared), float(freedom)


def above(
    measured: Measurement, threshold: float, level: float = 0.05, fail_level: float = 0.05
) -> Outcome:
    """Return whether the mean lies above the threshold.

    Args:
        level: how often the test may say "holds" of a mean that is not above the threshold.
        fail_level: how often it may say "fails" of a mean that is not below the threshold. A claim
            of several parts that fails with any of them gives 0.05 divided by their number.
    """
    holds = measured.p_above(threshold) <= _checked_level(level)
    fails = measured.p_below(threshold) <= _checked_level(fail_level)
    return _outcome(holds, fails)


def below(
    measured: Measurement, threshold: float, level: float = 0.05, fail_level: float = 0.05
) -> Outcome:
    """Return whether the mean lies below the threshold; the levels are as for `above`."""
    holds = measured.p_below(threshold) <= _checked_level(level)
    fails = measured.p_above(threshold) <= _checked_level(fail_level)
    return _outcome(holds, fails)


def within(
    measured: Measurement, margin: float, level: float = 0.05, fail_level: float = 0.05
) -> Outcome:
    """Return whether the mean lies between `-margin` and `margin`, by two one-sided tests.

    Both tests must find the mean inside (Schuirmann, 1987). It fails if either finds it outside.
    The levels are as for `above`. Where the margin is smaller than the error, both ends can fail by
    chance, and "fails" may be wrong up to twice as often as `fail_level`.

    Raises:
        ValueError: if the margin is negative.
    """
    _check_margin(margin)
    inside = max(measured.p_above(-margin), measured.p_below(margin))
    outside = min(measured.p_above(margin), measured.p_below(-margin))
    return _outcome(inside <= _checked_level(level), outside <= _checked_level(fail_level))


def _outcome(holds: bool, fails: bool) -> Outcome:
    """Return the outcome of two tests of which at most one finds anything."""
    if holds:
        return Outcome.HOLDS
    return Outcome.FAILS if fails else Outcome.OPEN


def power(error: float, freedom: float, distance: float, level: float = 0.05) -> float:
    """Return how often a one-sided test finds a mean that lies `distance` beyond its threshold.

    The probability comes from the noncentral t distribution.

    Args:
        error: the standard error expected of the mean.
        freedom: its degrees of freedom.
        distance: how far the true mean lies beyond the threshold, in the unit of the error. A mean
            that does not reach the threshold has a negative distance and at most the power `level`.
        level: level of the test.
    """
    _check_error(error, freedom)
    critical = _t_quantile(freedom, 1 - _checked_level(level))
    if error == 0:
        return 1.0 if distance > 0 else 0.0
    shift = distance / error
    missed = float(special.nctdtr(freedom, shift, critical))
    # Only so far from the critical value that nothing is left to chance does the series give out.
    if math.isnan(missed):
        return 1.0 if shift > critical else 0.0
    return 1 - missed


def power_within(error: float, freedom: float, margin: float, level: float = 0.05) -> float:
    """Return how often `within` holds where the true mean is 0.

    A study that finds the error `s` holds if its mean lies within `margin - critical * s`. That
    probability is averaged over the errors that a study may find, whose squares are chi-squared.

    Args:
        error, freedom, level: as for `power`.
        margin: the margin, in the unit of the error.

    Raises:
        ValueError: if the margin is negative.
    """
    _check_error(error, freedom)
    _check_margin(margin)
    critical = _t_quantile(freedom, 1 - _checked_level(level))
    if error == 0:
        return 1.0 if margin > 0 else 0.0
    # With an error above this one the margin is too narrow for any mean.
    largest = margin / error / critical
    share = float(special.chdtr(freedom, freedom * largest**2))
    points, weights = special.roots_legendre(QUADRATURE_POINTS)
    found = np.sqrt(special.chdtri(freedom, 1 - share * (points + 1) / 2) / freedom)
    room = np.maximum(margin / error - critical * found, 0)
    return float(share * weights @ (2 * special.ndtr(room) - 1) / 2)


def smallest_rate(prompts: int) -> float:
    """Return the smallest threshold that so many prompts can test a rate against.

    The largest threshold is 1 less the smallest. Fewer than ten prompts are expected to show a
    rarer event. A study may then see none, find no error, and call the rate smaller than it is
    (docs/statistics.md).
    """
    return MIN_RARE_PROMPTS / prompts


def _t_quantile(freedom: float, probability: float) -> float:
    return float(special.stdtrit(freedom, probability))


def _checked_level(level: float) -> float:
    if not 0 < level < 0.5:
        raise ValueError(f"the level of a test is {level}; give a number between 0 and 0.5")
    return level


def _check_margin(margin: float) -> None:
    if not margin >= 0:
        raise ValueError(f"the margin is {margin}; give a number that is not negative")


def _check_error(error: float, freedom: float) -> None:
    if not (error >= 0 and freedom > 0):
        raise ValueError(
            f"the error is {error} with {freedom} degrees of freedom; "
            "give an error that is not negative and freedom above 0"
        )
