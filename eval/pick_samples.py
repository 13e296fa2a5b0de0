"""Pick completions to read: the first one that each policy drew for a few prompts.

The policies are the reference, DeRa at every lam and the retrained models of each objective's first
seed. The prompts are the first ones held out, so nothing is chosen for its looks.

Settings: `eval.judging.Judging`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
from datasets import Dataset

from eval.judging import Judging
from eval.policies import LABELS, as_numbers
from study import job

PROMPTS = 12
KINDS = ("reference", "retrained", "dera")
STRENGTHS = ["anchor", "lam", "beta"]


def pick(table: pd.DataFrame, prompts: list[str], judging: Judging) -> pd.DataFrame:
    """Return the picked completions, sorted by prompt and policy."""
    # the first sample that each policy drew for the first prompts
    table = table[(table["sample_id"] == 0) & (table["prompt_id"] < PROMPTS)]
    table = table[table["kind"].isin(KINDS)]
    first_seeds = {name: objective.first_seed for name, objective in judging.objectives.items()}
    of_first_seed = table["seed"] == table["objective"].map(first_seeds)
    table = table[(table["kind"] == "reference") | of_first_seed]

    # strengths as numbers, so that they sort and read as such
    measures = [name for name in table.columns if name not in LABELS]
    table = table.assign(prompt=[prompts[i] for i in table["prompt_id"]])
    for column in STRENGTHS:
        table[column] = as_numbers(table[column])
    policy = ["kind", "objective", *STRENGTHS]
    columns = ["prompt_id", "prompt", *policy, "completion", *measures]
    return table[columns].sort_values(["prompt_id", *policy])


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("completions", type=Path, help="Parquet file of scored completions")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file with a row for each completion"
    )
    args = parser.parse_args()
    judging = job.settings_of(args, Judging)
    with job.running(f"{args.task} samples", args):
        table = pd.read_parquet(args.completions)
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"][:PROMPTS]
        picked = pick(table, prompts, judging)
        with job.atomic_path(args.output) as path:
            # quoted, because a model may write a carriage return
            picked.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)


if __name__ == "__main__":
    main()
