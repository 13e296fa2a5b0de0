"""Columns of the table of completions that say which policy wrote a completion.

`kind` is reference, retrained, dera, several_rewards or the NAME of a baseline. `objective` and
`seed` say how its aligned model was trained. `beta` is the effective strength of the policy, for a
retrained model the beta it was trained at. `anchor` is the beta of the aligned model that DeRa or
a baseline starts from. `lam` is DeRa's mixing weight; over several rewards it has two, which `lams`
holds as "0.75,0.25". `knob` is what a baseline is turned by.

Strengths, weights and knobs are exact here: strings that `fractions.Fraction` reads.
"""

from __future__ import annotations

from fractions import Fraction

import pandas as pd

POLICY_COLUMNS = ("kind", "task", "objective", "beta", "anchor", "lam", "lams", "knob", "seed")


def effective_beta(anchor: Fraction | None, lam: Fraction | None) -> Fraction | None:
    """Return `anchor / lam`, or None where there is no lam or it is 0, which is the reference."""
    return anchor / lam if lam and anchor is not None else None


def as_numbers(strengths: pd.Series) -> list[float | None]:
    """Return a column of exact strengths as numbers, None where one is missing."""
    return [None if pd.isna(strength) else float(Fraction(strength)) for strength in strengths]
