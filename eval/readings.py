"""Retrained models' completions as other models read them: KL without decoding.

A retrained model of one seed has drawn completions of the held-out prompts. The reference, the
retrained model of another seed at the same beta, and DeRa from each anchor read them token by token
(`eval.read`). The exact KL between the distributions of the next token, summed along the text, is
an estimate of the KL between the two models over whole completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from dera.estimators import Array

#: Columns of the table of readings; `eval.read`, which writes it, says what they hold.
COLUMNS = (
    "task",
    "objective",
    "beta",
    "seed",
    "reader",
    "reader_seed",
    "anchor",
    "lam",
    "factor",
    "prompt_id",
    "kl",
    "slope",
)


@dataclass(frozen=True)
class Readings:
    """The table of readings of one task.

    `table` has a row for each retrained model, reader, factor and prompt. A factor is a mixing
    weight over the matched one, which is anchor / beta.
    """

    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))

    def to_reference(self, objective: str, beta: Fraction) -> Array:
        """Return KL(retrained || reference) in nats, shape (seeds, prompts)."""
        return _grid(self._of(objective, beta, "reference"), "kl")

    def floor(self, objective: str, beta: Fraction) -> Array | None:
        """Return KL(retrained || retrained of another seed) in nats, shape (seeds, prompts).

        It is None where there is one seed.
        """
        rows = self._of(objective, beta, "retrained")
        return _grid(rows, "kl") if len(rows) else None

    def dera(
        self, objective: str, beta: Fraction, anchor: Fraction, across: bool, column: str = "kl"
    ) -> tuple[Array, Array] | None:
        """Return the factors, shape (factors,), and KL(retrained || DeRa) at each of them.

        Args:
            objective, beta: which retrained models.
            anchor: the strength of the aligned model that DeRa starts from.
            across: whether DeRa's aligned model has another seed than the retrained model.
            column: "kl" (nats), or "slope", its derivative with respect to lam.

        Returns:
            The second array has shape (seeds, prompts, factors). None stands for readings that
            there are none of, such as those across seeds where there is one seed.
        """
        rows = self._of(objective, beta, "dera")
        rows = rows[_equals(rows["anchor"], anchor)]
        rows = rows[(rows["reader_seed"] != rows["seed"]) == across]
        if not len(rows):
            return None
        ordered = rows.sort_values(["seed", "prompt_id", "factor"])
        factors = np.sort(ordered["factor"].unique())
        curves = ordered[column].to_numpy(float)
        return factors, curves.reshape(ordered["seed"].nunique(), -1, len(factors))

    def _of(self, objective: str, beta: Fraction, reader: str) -> pd.DataFrame:
        table = self.table
        rows = table[(table["objective"] == objective) & (table["reader"] == reader)]
        return rows[_equals(rows["beta"], beta)]


def read_tables(files: Sequence[Path]) -> Readings:
    """Return the readings in these Parquet files."""
    tables = [pd.read_parquet(path) for path in files]
    return Readings(pd.concat(tables, ignore_index=True)) if tables else Readings()


def _equals(written: pd.Series, strength: Fraction) -> pd.Series:
    """Return in which rows a column of exact strengths has this one, however it is written."""
    return written.isin([text for text in written.unique() if Fraction(text) == strength])


def _grid(rows: pd.DataFrame, column: str) -> Array:
    """Return a column as an array of shape (seeds, prompts)."""
    return rows.pivot(index="seed", columns="prompt_id", values=column).to_numpy(float)
