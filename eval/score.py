"""Score every completion of a task, and gather them in one table with a row for each.

The columns that are added:

- `length`: tokens of the completion.
- `log_ratio`: `log pi(y|x) - log pi_ref(y|x)` in nats; its mean is the KL to the reference.
- `gold` and the task's other measures.
- `learned`: the reward model's score, where the task has a reward model.
- `labeller`: what the completion is worth to the labeller of the preference pairs, where there is
  a labeller.
- `fluency`: mean log-probability under the reference, in nats per token.
- `repetition`: share of repeated word trigrams.
- `broken`: 1 if the completion did not end by itself or is not one of the task's language. Where
  the task cannot tell, a completion that mostly repeats itself counts as broken.
- `metric:NAME`: each of the user's own metrics.

Settings: `Scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pandas as pd
from datasets import Dataset

import tasks
from study import job
from study.job import settings_class
from tasks import TaskSettings
from tasks.rewards import labeller
from tasks.rewards.learned import LearnedReward

METRICS = Path(__file__).resolve().parent / "metrics"
OWN_METRICS = ("token_length", "sequence_kl", "repetition")
#: A completion mostly repeats itself if a larger share of its word trigrams than this is repeated.
MOSTLY = 0.5


@settings_class
class Scoring:
    """Settings of the job.

    `metrics` are files of the user's own `evaluate` modules. `preferences` is the config's section,
    where pairs are sampled from the reference and labelled.
    """

    task: TaskSettings
    metrics: list[str] = field(default_factory=list)
    preferences: dict[str, Any] | None = None


def load_metric(name: str) -> evaluate.Metric:
    """Load one of this project's own `evaluate` modules by its name, or another by its file."""
    path = name if name.endswith(".py") else str(METRICS / f"{name}.py")
    return evaluate.load(path, keep_in_memory=True)


class Scorer:
    """Scores tables of completions.

    Args:
        task: judges them.
        preferences: the labeller's section of the config, or None.
        learned: the reward model, or None.
        metrics: files of the user's own `evaluate` modules. Each gives
            `compute(predictions=completions, references=prompts)["values"]`, one number for each
            completion.
    """

    def __init__(
        self,
        task: tasks.Task,
        preferences: dict[str, Any] | None = None,
        learned: LearnedReward | None = None,
        metrics: Sequence[str] = (),
    ):
        self.task = task
        self.preferences = preferences
        self.learned = learned
        self.metrics = {name: load_metric(name) for name in OWN_METRICS}
        self.user_metrics = {file: load_metric(file) for file in metrics}

    def score(self, table: pd.DataFrame, prompts: list[str]) -> pd.DataFrame:
        """Return the table with a column for each measure, without the token ids."""
        ids = [list(row) for row in table["token_ids"]]
        texts = list(table["completion"])
        row_prompts = [prompts[i] for i in table["prompt_id"]]

        # what the task, the labeller and the reward model say
        columns = {}
        judged = tasks.judge(self.task, row_prompts, texts, ids)
        for name, values in judged.items():
            columns[name] = np.array(values, float)
        if self.preferences:
            utilities = labeller.utilities(
                columns["gold"],
                ids,
                self.preferences["sharpness"],
                self.preferences.get("length_bias", 0.0),
            )
            columns["labeller"] = np.array(utilities)
        if self.learned:
            columns["learned"] = np.array(self.learned(row_prompts, ids, list(table["finished"])))

        # what the text and its log-probabilities say
        columns["length"] = self._values("token_length", predictions=ids)
        columns["log_ratio"] = self._values(
            "sequence_kl", predictions=table["logp_policy"], references=table["logp_reference"]
        )
        columns["repetition"] = self._values("repetition", predictions=texts)
        tokens = columns["length"] + table["finished"]  # the end-of-sequence token counts
        columns["fluency"] = table["logp_reference"].to_numpy() / tokens
        whole = columns.get("wellformed", columns["repetition"] <= MOSTLY)
        columns["broken"] = 1.0 - table["finished"].to_numpy() * whole

        for file, metric in self.user_metrics.items():
            values = user_values(file, metric, texts, row_prompts)
            columns[f"metric:{Path(file).stem}"] = values
        return table.drop(columns="token_ids").assign(**columns)

    def _values(self, metric: str, **arguments: object) -> np.ndarray:
        """Return what one of this project's own metrics says of each completion."""
        return np.array(self.metrics[metric].compute(**arguments)["values"], float)


def user_values(
    file: str, metric: evaluate.Metric, completions: list[str], prompts: list[str]
) -> np.ndarray:
    """Return what a metric of the user's own says of each completion.

    Raises:
        ValueError: if the metric raises an error, or does not give one finite number for each
            completion under `values`; the message names the file.
    """
    try:
        result = metric.compute(predictions=completions, references=prompts)
        values = np.array(result["values"], float)
    except (Exception, SystemExit) as error:
        raise ValueError(f"the metric {file} raised {type(error).__name__}: {error}") from error
    if values.shape != (len(completions),) or not np.isfinite(values).all():
        raise ValueError(
            f"the metric {file} gave values of shape {values.shape} for {len(completions)} "
            "completions, or some that are not finite: return one finite number a completion"
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
    settings = job.settings_of(args, Scoring)
    with job.running(f"{settings.task.name} score", args) as progress:
        prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"])
        learned = LearnedReward(args.reward_model, job.device()) if args.reward_model else None
        scorer = Scorer(settings.task.create(), settings.preferences, learned, settings.metrics)
        scored = []
        for number, folder in enumerate(args.samples, start=1):
            completions = pd.read_parquet(folder / "completions.parquet")
            scored.append(scorer.score(completions, prompts))
            progress.update(number, len(args.samples), "models")
        with job.atomic_path(args.output) as path:
            pd.concat(scored, ignore_index=True).to_parquet(path, index=False)


if __name__ == "__main__":
    main()
