"""Completions to read: the first sampled one of a few prompts, by the reference, by DeRa at every lam and by the retrained models.

The prompts are the first ones held out, so nothing is chosen for its looks.

Settings: {"objectives": {name: {"default_beta", "seeds"}}}.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
from datasets import Dataset

from eval.policies import LABELS, as_numbers
from study import job

PROMPTS = 12


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file, a row a completion")
    args = parser.parse_args()
    with job.running(f"{args.task} samples", args):
        table = pd.read_parquet(args.completions)
        asked = Dataset.from_parquet(str(args.prompts))["prompt"][:PROMPTS]
        table = table[(table["sample_id"] == 0) & (table["prompt_id"] < PROMPTS)]
        first_seeds = {
            name: settings["seeds"][0] for name, settings in args.settings["objectives"].items()
        }
        table = table[table["policy"] != "baseline"]
        table = table[
            (table["policy"] == "reference")
            | (table["seed"] == table["objective"].map(first_seeds))
        ]
        measures = [name for name in table.columns if name not in LABELS]
        table = table.assign(prompt=[asked[i] for i in table["prompt_id"]])
        for column in ("adapter_beta", "lam"):
            table[column] = as_numbers(table[column])
        columns = [
            "prompt_id",
            "prompt",
            "policy",
            "objective",
            "adapter_beta",
            "lam",
            "completion",
            *measures,
        ]
        with job.atomic_path(args.output) as path:
            ordered = table[columns].sort_values(
                ["prompt_id", "policy", "objective", "adapter_beta", "lam"]
            )
            ordered.to_csv(
                path, index=False, quoting=csv.QUOTE_NONNUMERIC
            )  # a model may write a carriage return


if __name__ == "__main__":
    main()
