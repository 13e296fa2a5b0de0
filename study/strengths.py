"""How strengths (beta and lam) are written and compared: as exact numbers, never as floats.

The float `0.1 / 0.3` is of no use in a comparison or a file name. So a strength is kept as it was
written in the config. It is a decimal in file names and a fraction in arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any


def label(strength: Any) -> str:
    """Write a strength as a decimal without needless zeros, for file names and tables."""
    return format(Decimal(str(strength)).normalize(), "f")


def exact(strength: Any) -> Fraction:
    """Read a strength as the fraction that was written."""
    return Fraction(str(strength))


def all_exact(strengths: Iterable[Any]) -> list[Fraction]:
    """Read strengths as the fractions that were written."""
    return [exact(strength) for strength in strengths]
