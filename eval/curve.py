"""Estimate gold and KL of DeRa at every lam of a range, from completions sampled at a few lams.

The estimator is multiple importance sampling (`dera.curve`). The job writes a row for each lam.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

import tasks
from dera import chat
from dera.curve.reweighting import Curve, reweight, reweighted_kl
from dera.curve.sampled_lams import LamSamples
from dera.curve.sampling import sample_covering
from dera.estimators import Array
from dera.model.realigned import RealignedModel
from study import job


@job.settings_class
class Evaluation:
    """The config's `evaluation`: decoding on held-out prompts.

    The numbers of samples here belong to other jobs. The curve has a number of its own.
    """

    prompts: int
    samples: int
    reference_samples: int
    batch_size: int


@job.settings_class
class CurveOptions:
    """The config's `dera.curve`: at which lams to sample, and where to estimate.

    The curve has `points` values of lam from 0 to `max_lam`. Completions are sampled first at
    `sampled_lams`, with `samples` completions of a prompt at each. More lams are added where these
    do not suffice, until `max_sampled_lams` have been sampled.
    """

    sampled_lams: list[float]
    max_sampled_lams: int
    samples: int
    points: int
    max_lam: float

    def lams(self) -> list[float]:
        """Return the values of lam."""
        return np.linspace(0, self.max_lam, self.points).tolist()


@job.settings_class
class Settings:
    """Settings of this job; `resamples` is how many times prompts are resampled for the bands."""

    task: tasks.TaskSettings
    evaluation: Evaluation
    curve: CurveOptions
    max_new_tokens: int
    resamples: int


def table_of(
    samples: LamSamples, quantities: dict[str, Curve], labels: dict[str, Any]
) -> pd.DataFrame:
    """Return a table with a row for each lam.

    A row has each quantity with its band, how well the samples cover the lam, whether completions
    were sampled there, and the labels.
    """
    any_curve = next(iter(quantities.values()))
    columns = {
        "lam": any_curve.lams,
        "ess": any_curve.ess,
        "mass": any_curve.mass,
        "supported": any_curve.supported,
    }
    for name, curve in quantities.items():
        columns |= {name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
    sampled = [lam in samples.sampled_lams for lam in samples.grid]
    return pd.DataFrame(columns).assign(sampled=sampled, completions=len(samples.texts), **labels)


def gold_of(task: tasks.Task, samples: LamSamples) -> Array:
    """Return the task's verdict on each completion, shape (prompts, sampled lams, samples)."""
    verdicts = tasks.judge(task, samples.row_prompts(), samples.texts, samples.token_ids)
    return np.array(verdicts["gold"]).reshape(samples.lengths.shape)


def load_pair(reference: Path, adapter: Path) -> tuple[RealignedModel, Any]:
    """Load the reference with an aligned model, on the GPU if there is one, and the tokenizer."""
    tokenizer = chat.prompt_tokenizer(reference)
    model = RealignedModel.from_pretrained(reference, adapter, merge_adapter=True)
    return model.to(job.device()), tokenizer  # type: ignore[arg-type]


def read_prompts(path: Path, count: int) -> list[str]:
    """Return the first `count` prompts of a Parquet file."""
    return list(Dataset.from_parquet(str(path))["prompt"][:count])


def estimate(
    settings: Settings,
    model: RealignedModel,
    tokenizer: Any,
    prompts: list[str],
    seed: int,
    labels: dict[str, Any],
) -> pd.DataFrame:
    """Sample, judge and reweight completions, and return the table of the curve."""
    # Sample at the first lams, and at more where these do not cover the curve.
    started = time.monotonic()
    samples = sample_covering(
        model,
        tokenizer,
        prompts,
        settings.max_new_tokens,
        settings.curve.lams(),
        sampled_lams=settings.curve.sampled_lams,
        samples=settings.curve.samples,
        max_sampled_lams=settings.curve.max_sampled_lams,
        batch_size=settings.evaluation.batch_size,
        seed=seed,
    )
    seconds = time.monotonic() - started

    # Judge the completions, and reweight them to every lam of the curve.
    gold = gold_of(settings.task.create(), samples)
    resampling: dict[str, Any] = {"resamples": settings.resamples, "seed": seed}
    quantities = {
        "gold": reweight(samples, gold, **resampling),
        "kl": reweighted_kl(samples, **resampling),
    }
    return table_of(samples, quantities, {**labels, "decoding_seconds": seconds})


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder of the aligned model or its adapter"
    )
    parser.add_argument(
        "--labels", type=json.loads, default={}, help="columns to add to every row, as JSON"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file with a row a lam")
    args = parser.parse_args()
    settings = job.settings_of(args, Settings)
    label = " ".join([settings.task.name, "curve", *map(str, args.labels.values())])
    with job.running(label, args):
        prompts = read_prompts(args.prompts, settings.evaluation.prompts)
        model, tokenizer = load_pair(args.reference, args.adapter)
        table = estimate(settings, model, tokenizer, prompts, args.seed, args.labels)
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
