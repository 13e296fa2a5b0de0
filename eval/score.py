"""Score every completion of the study and gather them in one tidy table, a row a completion.

Settings: {"task": ...}, the config's section of that name.
"""

from __future__ import annotations

from pathlib import Path

import evaluate
import pandas as pd
from datasets import Dataset

import tasks
from study import job

METRICS = Path(__file__).resolve().parent / "metrics"


def load_metric(name: str) -> evaluate.Metric:
    """Load one of this project's own `evaluate` modules."""
    return evaluate.load(str(METRICS / f"{name}.py"), keep_in_memory=True)


def score(table: pd.DataFrame, prompts: list[str], task: tasks.Task, metrics: dict[str, evaluate.Metric]) -> pd.DataFrame:
    """Add the columns `length` (tokens), `reward` and `log_ratio` (nats; its mean is the KL to the reference)."""
    ids = [list(row) for row in table["token_ids"]]
    texts = [prompts[i] for i in table["prompt_id"]]
    rewards = metrics["mean_reward"].compute(
        predictions=list(table["completion"]), references=texts, reward=task.reward, completion_ids=ids
    )
    ratios = metrics["sequence_kl"].compute(predictions=table["logp_policy"], references=table["logp_reference"])
    return table.assign(
        length=metrics["token_length"].compute(predictions=ids)["values"],
        reward=rewards["values"],
        log_ratio=ratios["values"],
    ).drop(columns="token_ids")


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("samples", type=Path, nargs="+", help="folders with completions.parquet")
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet file with a column prompt")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the table")
    args = parser.parse_args()
    with job.running("score", args) as progress:
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"]
        task = tasks.create(args.settings["task"])
        metrics = {name: load_metric(name) for name in ("token_length", "mean_reward", "sequence_kl")}
        tables = []
        for number, folder in enumerate(args.samples, start=1):
            tables.append(score(pd.read_parquet(folder / "completions.parquet"), prompts, task, metrics))
            progress.update(number, len(args.samples), "policies")
        with job.atomic_path(args.output) as path:
            pd.concat(tables, ignore_index=True).to_parquet(path, index=False)


if __name__ == "__main__":
    main()
