"""Make one table of the study from the same table of each task, with a column `task` first."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study import job


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("tables", type=Path, nargs="+", help="CSV files, one for each task")
    parser.add_argument(
        "--tasks", nargs="+", required=True, help="names of the tasks, in the same order"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the table")
    args = parser.parse_args()
    with job.running("gather", args):
        tables = [pd.read_csv(path) for path in args.tables]
        table = pd.concat(tables, keys=args.tasks, names=["task"]).reset_index("task")
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
