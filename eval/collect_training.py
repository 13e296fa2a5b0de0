"""Gather the training histories of the reference and of every adapter in one table, a row a logged number."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study import job

LOGGED = ("loss", "eval_loss", "reward", "kl", "rewards/margins", "rewards/accuracies")


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="folders with training.json")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    with job.running(f"{args.task} collect training", args):
        rows = []
        for folder in args.models:
            record = job.read_json(folder / "training.json")
            labels = {
                key: record.get(key) for key in ("stage", "objective", "beta", "seed", "seconds")
            }
            for entry in record["history"]:
                rows += [
                    {**labels, "step": entry["step"], "name": k, "value": entry[k]}
                    for k in LOGGED
                    if k in entry
                ]
        with job.atomic_path(args.output) as path:
            pd.DataFrame(rows).to_csv(path, index=False)


if __name__ == "__main__":
    main()
