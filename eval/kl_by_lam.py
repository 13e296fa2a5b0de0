"""Summarise readings: how far retrained models are from DeRa at each lam, averaged over seeds.

The job reads the files that `eval.read` writes. It writes a CSV table with a row for each objective
and beta of a retrained model, and each reader:

- `reader`: "within a seed", DeRa from the aligned model of the same seed; "across seeds", DeRa from
  that of another seed; "floor", the model retrained at the same beta with another seed; or
  "reference";
- `anchor`, `factor`, `lam`: of DeRa; lam is factor * anchor / beta; empty for other readers;
- `kl`: KL(retrained || reader) in nats over whole completions, averaged over prompts and then over
  seeds, with the ends of its 95% t-interval over the means of the seeds, `kl_low` and `kl_high`;
- `slope`: of DeRa, the mean derivative of `kl` with respect to lam;
- `seeds`: how many there are. One seed has no interval.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from dera.estimators import Array
from eval.statistics import measure_over_seeds
from study import job

#: What is averaged over prompts and then over seeds.
KEYS = ["objective", "beta", "reader", "anchor", "factor", "lam"]


def summarize(readings: pd.DataFrame) -> pd.DataFrame:
    """Return the table that the module's docstring describes, of the table of all readings."""
    readings = readings.assign(reader=readers(readings))
    for name in ("beta", "anchor"):
        readings[name] = pd.to_numeric(readings[name])

    # Means over prompts come first: the seeds are what the interval is taken over.
    of_seeds = readings.groupby([*KEYS, "seed"], dropna=False, sort=False)[["kl", "slope"]].mean()
    groups = of_seeds.reset_index().groupby(KEYS, dropna=False, sort=False)
    table = groups.agg(kl=("kl", "mean"), slope=("slope", "mean"), seeds=("kl", "size"))
    ends = [interval(values.to_numpy()) for _, values in groups["kl"]]
    low, high = zip(*ends, strict=True)
    table.insert(1, "kl_low", low)
    table.insert(2, "kl_high", high)
    return table.reset_index()


def readers(readings: pd.DataFrame) -> pd.Series:
    """Return who reads, as the module's docstring names it."""
    is_own = readings["seed"].eq(readings["reader_seed"]).fillna(False)
    of_dera = is_own.map({True: "within a seed", False: "across seeds"})
    names = readings["reader"].map({"reference": "reference", "retrained": "floor"})
    return names.fillna(of_dera)


def interval(means: Array) -> tuple[float, float]:
    """Return the 95% t interval of one mean a seed; NaN at both ends for one seed."""
    if len(means) < 2:
        return math.nan, math.nan
    return measure_over_seeds(means).interval()


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("readings", type=Path, nargs="+", help="Parquet files of the readings")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    with job.running(f"{args.task} summarize readings", args):
        readings = [pd.read_parquet(path) for path in args.readings]
        table = summarize(pd.concat(readings, ignore_index=True))
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
