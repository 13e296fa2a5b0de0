"""Gather the training histories of the reference and of every adapter in one table.

The table has a row for each number that was logged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from study import job

LABELS = ("stage", "objective", "beta", "seed", "seconds")
LOGGED = ("loss", "eval_loss", "reward", "kl", "rewards/margins", "rewards/accuracies")


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one model from what its training.json says."""
    labels = {key: record.get(key) for key in LABELS}
    lines = []
    for entry in record["history"]:
        for name in LOGGED:
            if name in entry:
                lines.append({**labels, "step": entry["step"], "name": name, "value": entry[name]})
    return lines


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="folders with training.json")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    with job.running(f"{args.task} collect training", args):
        lines = []
        for folder in args.models:
            lines += rows(job.read_json(folder / "training.json"))
        with job.atomic_path(args.output) as path:
            pd.DataFrame(lines).to_csv(path, index=False)


if __name__ == "__main__":
    main()
