"""Gather the curves over lam of a task in one table, one after another.

Settings: `Gathering`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from study import job


@job.settings_class
class Gathering:
    """The labels of each curve, in the order of the files, and how far a curve goes.

    A curve has `points` lams up to `max_lam`, and a few more where completions were sampled.
    """

    curves: list[dict[str, Any]]
    points: int
    max_lam: float


def read_curve(file: Path, labels: dict[str, Any], settings: Gathering) -> pd.DataFrame:
    """Read the curve of one aligned model.

    Raises:
        ValueError: if it is empty, has too few points or is that of another model; the message
            names the file.
    """
    remedy = f"delete {file} and run the study again, which makes it anew"
    try:
        curve = pd.read_csv(file, dtype=str, keep_default_na=False)  # as it is written
    except ValueError as error:
        raise ValueError(f"{file} is no table: {error}; {remedy}") from error
    if len(curve) < settings.points:
        raise ValueError(f"{file} has {len(curve)} points, not {settings.points}; {remedy}")
    if float(curve["lam"].iloc[-1] or "nan") < settings.max_lam * (1 - 1e-9):
        raise ValueError(f"{file} ends before lam = {settings.max_lam:g}; {remedy}")
    for name, value in labels.items():
        if name not in curve or set(curve[name]) != {str(value)}:
            raise ValueError(f"{file} is not the curve of {name} = {value}; {remedy}")
    return curve


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("tables", type=Path, nargs="+", help="CSV files, one for each curve")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    settings = job.settings_of(args, Gathering)
    with job.running("gather curves", args):
        files = zip(args.tables, settings.curves, strict=True)
        curves = [read_curve(file, labels, settings) for file, labels in files]
        with job.atomic_path(args.output) as path:
            pd.concat(curves, ignore_index=True).to_csv(path, index=False)


if __name__ == "__main__":
    main()
