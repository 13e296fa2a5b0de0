"""Conditions of a criterion, which are said in the words and with the threshold that decide them.

A `Check` stands in a criterion's sentence (`f"... {CHECK} ..."`) and decides the outcome
(`CHECK.outcome(measured)`), so that the two cannot differ. A `Condition` is a check together with
what was measured for it. An outcome is one of three: the condition holds, it fails, or the evidence
cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dera.estimators import Array
from eval import statistics
from eval.statistics import Measurement, Outcome, above, below, measure, within

__all__ = [
    "Check",
    "Condition",
    "Outcome",
    "above",
    "below",
    "equal_within",
    "fail_level",
    "row",
    "shown",
    "within",
]

#: A condition holds where a test of this level, one-sided, finds so.
LEVEL = 0.05


def fail_level(conditions: int) -> float:
    """Return the level at which one of several conditions fails.

    It is divided by their number, so that a true claim of many conditions is not refuted more often
    than one of a single condition.
    """
    return LEVEL / conditions


#: A rule is given what was measured, the threshold, and the levels of the tests for "holds" and for
#: "fails".
Rule = Callable[[Measurement, float, float, float], Outcome]


class Check(NamedTuple):
    """One condition: a sentence with a place for the threshold, and the rule that decides it."""

    sentence: str
    threshold: float
    rule: Rule

    def outcome(self, measured: Measurement, fail_level: float = LEVEL) -> Outcome:
        """Return whether the condition holds, fails, or cannot be told."""
        return self.rule(measured, self.threshold, LEVEL, fail_level)

    def power(self, measured: Measurement, expected: float) -> float:
        """Return the probability that this check holds if the true value is `expected`.

        The spread is that of `measured`, which comes from a pilot.
        """
        if self.rule is within:
            return statistics.power_within(measured.error, measured.freedom, self.threshold)
        beyond = self.threshold - expected if self.rule is below else expected - self.threshold
        return statistics.power(measured.error, measured.freedom, beyond)

    def __str__(self) -> str:
        return self.sentence.format(self.threshold)


@dataclass(frozen=True)
class Condition:
    """A check and what was measured for it.

    Attributes:
        name: what the condition is about, such as "beta = 0.5".
        check: the condition.
        measured: the measurement that decides it.
        expected: the true value if the claim is true as it is stated; the power of the check is
            computed for this value. None where the claim states no value.
    """

    name: str
    check: Check
    measured: Measurement
    expected: float | None = None


def equal_within(
    name: str, not_higher: Check, not_lower: Check, difference: Array, whole: Array, share: float
) -> list[Condition]:
    """Return the two conditions that a difference is small beside a whole change.

    The margin is a share of the whole change, so that its own error counts, too.

    Args:
        name: what the conditions are about.
        not_higher: a check that `difference - share * whole` is below 0.
        not_lower: a check that `difference + share * whole` is above 0.
        difference, whole: shape (seeds, prompts); the mean of `whole` is positive.
        share: what the margin is of `whole`.
    """
    margin = share * float(np.nanmean(whole))
    return [
        Condition(name, not_higher, measure(difference - share * whole), -margin),
        Condition(name, not_lower, measure(difference + share * whole), margin),
    ]


def row(condition: Condition, fail_level: float) -> dict[str, Any]:
    """Return a condition as a line of the table that shows how a verdict came about."""
    measured = condition.measured
    low, high = measured.interval(0.90)
    power = None
    if condition.expected is not None:
        power = condition.check.power(measured, condition.expected)
    return {
        "condition": condition.name,
        "value": measured.value,
        "low (90%)": low,
        "high (90%)": high,
        "threshold": condition.check.threshold,
        "outcome": condition.check.outcome(measured, fail_level).value,
        "error": measured.error,
        "degrees of freedom": measured.freedom,
        "if true": condition.expected,
        "power": power,
    }


def shown(measured: Measurement) -> dict[str, float]:
    """Return a measurement with its 95% interval, as it stands in the evidence of a claim."""
    low, high = measured.interval()
    return {"value": measured.value, "low": low, "high": high}
