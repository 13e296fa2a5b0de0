"""Score every completion of a task and gather them in one tidy table, a row a completion.

Columns: `length` (tokens), `log_ratio` (nats; its mean is the KL to the reference), `gold` and the task's other measures, `learned` (the
reward model's score) and `labeller` (what the completion is worth to the labeller of the preference pairs) where the task has them,
`fluency` (nats a token: log-probability under the reference), `repetition` (share of repeated word trigrams) and `broken` (1 if the
completion did not end by itself or is not one of the task's language; where the task cannot tell, if it mostly repeats itself), and `metric:NAME`
for each of the user's own metrics.

Settings: {"task": {"name", "settings"}, "preferences": the config's section, if there is one, "metrics": files of `evaluate` modules}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import evaluate
import numpy as np
import pandas as pd
from datasets import Dataset

import tasks
from study import job
from tasks.rewards import labeller
from tasks.rewards.learned import LearnedReward

METRICS = Path(__file__).resolve().parent / "metrics"
MOSTLY = 0.5


def load_metric(name: str) -> evaluate.Metric:
    """Load one of this project's own `evaluate` modules by its name, or another by its file."""
    return evaluate.load(
        name if name.endswith(".py") else str(METRICS / f"{name}.py"), keep_in_memory=True
    )


class Scorer:
    """Scores tables of completions.

    Args:
        task: judges them.
        preferences: the labeller's section of the config, or None.
        learned: the reward model, or None.
        metrics: files of the user's own `evaluate` modules: `compute(predictions=completions, references=prompts)` gives `values`, one a completion.
    """

    def __init__(
        self,
        task: tasks.Task,
        preferences: dict | None = None,
        learned: LearnedReward | None = None,
        metrics: Sequence[str] = (),
    ):
        self.task, self.preferences, self.learned = task, preferences, learned
        self.metrics = {
            name: load_metric(name) for name in ("token_length", "sequence_kl", "repetition")
        }
        self.own = {file: load_metric(file) for file in metrics}

    def score(self, table: pd.DataFrame, prompts: list[str]) -> pd.DataFrame:
        """The table with a column for each measure, without the token ids."""
        ids, texts = [list(row) for row in table["token_ids"]], list(table["completion"])
        asked = [prompts[i] for i in table["prompt_id"]]
        columns = {
            name: np.array(values, float)
            for name, values in tasks.judge(self.task, asked, texts, ids).items()
        }
        if self.preferences:
            columns["labeller"] = np.array(
                labeller.utilities(
                    columns["gold"],
                    ids,
                    self.preferences["sharpness"],
                    self.preferences.get("length_bias", 0.0),
                )
            )
        if self.learned:
            columns["learned"] = np.array(self.learned(asked, ids, list(table["finished"])))
        columns["length"] = self._values("token_length", predictions=ids)
        columns["log_ratio"] = self._values(
            "sequence_kl", predictions=table["logp_policy"], references=table["logp_reference"]
        )
        columns["repetition"] = self._values("repetition", predictions=texts)
        columns["fluency"] = table["logp_reference"].to_numpy() / (
            columns["length"] + table["finished"]
        )
        whole = columns.get("wellformed", columns["repetition"] <= MOSTLY)
        columns["broken"] = 1.0 - table["finished"].to_numpy() * whole
        for file, metric in self.own.items():
            columns[f"metric:{Path(file).stem}"] = own_values(file, metric, texts, asked)
        return table.drop(columns="token_ids").assign(**columns)

    def _values(self, metric: str, **arguments: object) -> np.ndarray:
        return np.array(self.metrics[metric].compute(**arguments)["values"], float)


def own_values(
    file: str, metric: evaluate.Metric, completions: list[str], prompts: list[str]
) -> np.ndarray:
    """What a metric of the user's own says of each completion.

    Raises:
        ValueError: if it raises, or does not give one finite number a completion under `values`; the message names the file.
    """
    try:
        values = np.array(
            metric.compute(predictions=completions, references=prompts)["values"], float
        )
    except Exception as error:
        raise ValueError(f"the metric {file} raised {type(error).__name__}: {error}") from error
    if values.shape != (len(completions),) or not np.isfinite(values).all():
        raise ValueError(
            f"the metric {file} gave values of shape {values.shape} for {len(completions)} completions, or some that are not finite"
        )
    return values


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("samples", type=Path, nargs="+", help="folders with completions.parquet")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--reward-model", type=Path, help="folder of the reward model")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the table")
    args = parser.parse_args()
    with job.running(f"{args.settings['task']['name']} score", args) as progress:
        prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"])
        learned = LearnedReward(args.reward_model, job.device()) if args.reward_model else None
        scorer = Scorer(
            tasks.create(**args.settings["task"]),
            args.settings.get("preferences"),
            learned,
            args.settings["metrics"],
        )
        scored = []
        for number, folder in enumerate(args.samples, start=1):
            scored.append(scorer.score(pd.read_parquet(folder / "completions.parquet"), prompts))
            progress.update(number, len(args.samples), "models")
        with job.atomic_path(args.output) as path:
            pd.concat(scored, ignore_index=True).to_parquet(path, index=False)


if __name__ == "__main__":
    main()
