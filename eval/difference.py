"""Where two derivations of the same claims and tables differ by more than rounding.

Nothing that is compared is drawn at random anew: samples are in the tables, and what is random in
deciding has a seed. What is left is rounding. Another processor adds floats in another order, which
changes the last of their sixteen digits, and a test divides by a small spread or takes a small
difference, which can cost half of the others. So two numbers are equal here if they differ by at
most a millionth of themselves, or by `ABSOLUTE` near 0. A text may show a rounded number that lay
between two decimals, so the last decimal that it shows may differ by one.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

RELATIVE = 1e-6
ABSOLUTE = 1e-9
#: What stands where one of two values has no such key.
MISSING = "missing"
#: A number in a text.
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


class Difference(NamedTuple):
    """A place where two values differ, what is written there, and what was derived."""

    place: str
    written: Any
    derived: Any

    def said(self, source: str) -> str:
        """Return the difference in words, where `source` says who wrote the first value."""
        written, derived = _short(self.written), _short(self.derived)
        return f"{self.place} is {written} in {source}, but the tables of the pack give {derived}"


def in_values(written: Any, derived: Any, place: str = "") -> Iterator[Difference]:
    """Yield each place where two values of JSON differ.

    Args:
        written: what the study says.
        derived: what follows from its tables.
        place: where the two stand, such as `evidence.conditions`.
    """
    if isinstance(written, dict) and isinstance(derived, dict):
        for name in dict.fromkeys([*written, *derived]):
            where = f"{place}.{name}" if place else name
            if name in written and name in derived:
                yield from in_values(written[name], derived[name], where)
            else:
                yield Difference(where, written.get(name, MISSING), derived.get(name, MISSING))
    elif isinstance(written, list) and isinstance(derived, list) and len(written) == len(derived):
        for number, (first, second) in enumerate(zip(written, derived, strict=True)):
            yield from in_values(first, second, f"{place}[{number}]")
    elif not _equal(written, derived):
        yield Difference(place, written, derived)


def in_tables(
    written: pd.DataFrame, derived: pd.DataFrame, sorted_by: Sequence[str] = ()
) -> Iterator[Difference]:
    """Yield where two tables differ, each column at its first row that differs.

    Args:
        written: as it is read from a file of the study.
        derived: as it was computed; it is written and read like the other one.
        sorted_by: columns that tell the rows apart, where the rows may stand in any order.
    """
    derived = _as_read(derived)
    if list(written.columns) != list(derived.columns):
        yield Difference("the header", list(written.columns), list(derived.columns))
        return
    if len(written) != len(derived):
        yield Difference("the number of rows", len(written), len(derived))
        return
    if sorted_by:
        written = written.sort_values(list(sorted_by), kind="stable", ignore_index=True)
        derived = derived.sort_values(list(sorted_by), kind="stable", ignore_index=True)
    for name in written.columns:
        (differs,) = np.nonzero(~_equal_cells(written[name], derived[name]))
        if len(differs):
            row = differs[0]
            place = f"{name} in row {row + 1} ({len(differs)} rows differ)"
            yield Difference(place, written[name].iloc[row], derived[name].iloc[row])


def read_csv(source: Path | io.StringIO) -> pd.DataFrame:
    """Read a table from a CSV file; one that has no rows may have no header."""
    try:
        return pd.read_csv(source)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def _as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is read from the CSV file that it is written to."""
    # quoted, because a model may write a carriage return
    text = table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return read_csv(io.StringIO(text if len(table.columns) else "", newline=""))


def _equal_cells(written: pd.Series, derived: pd.Series) -> np.ndarray:
    """Return in which rows two columns are equal."""
    columns = [written, derived]
    if all(pd.api.types.is_numeric_dtype(column) for column in columns):
        first, second = (column.to_numpy(float) for column in columns)
        return np.isclose(second, first, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
    both_empty = written.isna() & derived.isna()
    return (both_empty | (written.astype(str) == derived.astype(str))).to_numpy()


def _equal(written: Any, derived: Any) -> bool:
    """Return whether two values of JSON that have no parts are equal."""
    if isinstance(written, str) and isinstance(derived, str):
        return _equal_texts(written, derived)
    numbers = [isinstance(value, int | float) for value in (written, derived)]
    truths = [isinstance(value, bool) for value in (written, derived)]
    if all(numbers) and not any(truths):
        close = math.isclose(written, derived, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        return close or (math.isnan(written) and math.isnan(derived))
    return type(written) is type(derived) and written == derived


def _equal_texts(written: str, derived: str) -> bool:
    """Return whether two texts have the same words, and numbers that are equal as shown."""
    first, second = NUMBER.split(written), NUMBER.split(derived)
    if first[::2] != second[::2]:
        return False
    for one, other in zip(map(Decimal, first[1::2]), map(Decimal, second[1::2]), strict=True):
        last = min(Decimal((0, (1,), int(number.as_tuple().exponent))) for number in (one, other))
        allowed = last if last < 1 else Decimal(0)  # a whole number is a count
        if abs(one - other) > allowed:
            return False
    return True


def _short(value: Any) -> str:
    text = str(value) if value is MISSING else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
