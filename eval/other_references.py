"""One aligned model mixed with its own reference and with others, averaged over seeds and prompts.

The job reads the files that `eval.reference_trial` writes. It writes a CSV table with a row for
each reference and lam, and with 95% intervals over seeds and prompts:

- `objective`, `anchor`: the aligned models;
- `reference`, `lam`, `beta`: as in the files;
- `gold`, `whole`, `kl`, `kl_retrained`, `kl_reference`: the means of what the files have;
- `excess`: `kl_retrained` less that of DeRa with its own reference; empty for the own reference;
- `seeds`: how many there are.

An interval of a column ends at `NAME_low` and `NAME_high`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dera.estimators import Array
from eval.statistics import measure
from study import job
from study.other_references import OWN

#: Columns of the table of a trial; `eval.reference_trial`, which writes it, says what they hold.
COLUMNS = (
    "task",
    "objective",
    "seed",
    "anchor",
    "reference",
    "lam",
    "beta",
    "prompt_id",
    "gold",
    "whole",
    "kl",
    "kl_retrained",
    "kl_reference",
)
MEASURES = ("gold", "whole", "kl", "kl_retrained", "kl_reference")


@dataclass(frozen=True)
class Mixtures:
    """The trials of one task, which all have the same references, lams and prompts.

    `table` has a row for each seed, reference, lam and prompt; it is empty where the config has no
    section `dera.other_references`.
    """

    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))

    @property
    def others(self) -> list[str]:
        """The names of the references that the model was not aligned from."""
        return [name for name in self.table["reference"].unique() if name != OWN]

    @property
    def lams(self) -> list[Fraction]:
        """The lams, ascending."""
        return sorted(map(Fraction, self.table["lam"].unique()))

    @property
    def betas(self) -> list[Fraction]:
        """The betas of the retrained models that were read, ascending."""
        return sorted(map(Fraction, self.table["beta"].dropna().unique()))

    def at_lam(self, reference: str, lam: Fraction, column: str) -> Array:
        """Return a column of the mixtures with a reference at a lam, shape (seeds, prompts)."""
        return self._grid(reference, "lam", lam, column)

    def at_beta(self, reference: str, beta: Fraction, column: str) -> Array:
        """Return a column of the mixtures at the matched lam of a beta, shape (seeds, prompts)."""
        return self._grid(reference, "beta", beta, column)

    def excess(self, reference: str, beta: Fraction) -> Array:
        """Return KL(retrained || mixture) less that of DeRa with its own reference.

        Returns:
            Nats, shape (seeds, prompts).
        """
        own = self.at_beta(OWN, beta, "kl_retrained")
        return self.at_beta(reference, beta, "kl_retrained") - own

    def _grid(self, reference: str, strength: str, value: Fraction, column: str) -> Array:
        rows = self.table[self.table["reference"] == reference]
        written = [text for text in rows[strength].dropna().unique() if Fraction(text) == value]
        rows = rows[rows[strength].isin(written)]
        return rows.pivot(index="seed", columns="prompt_id", values=column).to_numpy(float)


def read_tables(files: Sequence[Path]) -> Mixtures:
    """Return the trials in these Parquet files."""
    tables = [pd.read_parquet(path) for path in files]
    return Mixtures(pd.concat(tables, ignore_index=True)) if tables else Mixtures()


def rows(mixtures: Mixtures) -> list[dict[str, Any]]:
    """Return the lines of the table that the module's docstring describes."""
    table = mixtures.table
    anchor = Fraction(table["anchor"].iloc[0])
    lines = []
    for reference in [OWN, *mixtures.others]:
        for lam in mixtures.lams:
            beta = anchor / lam if lam else None
            beta = beta if beta in mixtures.betas else None
            line = {
                "objective": table["objective"].iloc[0],
                "anchor": float(anchor),
                "reference": reference,
                "lam": float(lam),
                "beta": None if beta is None else float(beta),
                "seeds": table["seed"].nunique(),
            }
            columns = {name: mixtures.at_lam(reference, lam, name) for name in MEASURES}
            if beta is not None and reference != OWN:
                columns["excess"] = mixtures.excess(reference, beta)
            lines.append(line | _with_intervals(columns))
    return lines


def _with_intervals(columns: dict[str, Array]) -> dict[str, float | None]:
    """Return the mean of each array with its interval; None where nothing was measured."""
    line: dict[str, float | None] = {}
    for name, values in columns.items():
        value, low, high = None, None, None
        if not np.isnan(values).all():
            measured = measure(values)
            value, (low, high) = measured.value, measured.interval()
        line |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return line


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("trials", type=Path, nargs="+", help="Parquet files of the trials")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    with job.running(f"{args.task} summarize other references", args):
        lines = rows(read_tables(args.trials))
        with job.atomic_path(args.output) as path:
            pd.DataFrame(lines).to_csv(path, index=False)


if __name__ == "__main__":
    main()
