"""Conditions of a criterion, which are said in the words and with the threshold that decide them.

A `Check` stands in a criterion's sentence (`f"... {CHECK} ..."`) and decides the verdict
(`CHECK.holds(value)`), so that the two cannot differ. An interval is a difference as
`Evidence.difference` returns it, with the keys `value`, `low` and `high`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Interval = dict[str, float]


@dataclass(frozen=True)
class Check:
    """One condition: a sentence with a place for the threshold, and the rule that decides it.

    `rule` is given the value that was measured and the threshold.
    """

    sentence: str
    threshold: float
    rule: Callable[[Any, float], bool]

    def holds(self, measured: Any) -> bool:
        """Return whether what was measured meets the condition."""
        return bool(self.rule(measured, self.threshold))

    def __str__(self) -> str:
        return self.sentence.format(self.threshold)


def at_least(value: float | None, threshold: float) -> bool:
    """Return whether the value reaches the threshold; None, a value without variation, does not."""
    return value is not None and value >= threshold


def at_most(value: float | None, threshold: float) -> bool:
    """Return whether the value stays at or below the threshold; None does not."""
    return value is not None and value <= threshold


def within(interval: Interval, margin: float) -> bool:
    """Return whether the whole interval lies within +-margin, which is equivalence."""
    return max(abs(interval["low"]), abs(interval["high"])) <= margin


def above(interval: Interval, threshold: float) -> bool:
    """Return whether the whole interval lies above the threshold."""
    return interval["low"] > threshold


def below(interval: Interval, threshold: float) -> bool:
    """Return whether the whole interval lies below the threshold."""
    return interval["high"] < threshold


def rises_at_least(interval: Interval, threshold: float) -> bool:
    """Return whether the whole interval lies at or above the threshold."""
    return interval["low"] >= threshold


def rises_at_most(interval: Interval, threshold: float) -> bool:
    """Return whether the whole interval lies at or below the threshold."""
    return interval["high"] <= threshold


def falls_at_most(interval: Interval, threshold: float) -> bool:
    """Return whether the whole interval lies at or above the negative of the threshold."""
    return interval["low"] >= -threshold
