"""Gold and KL of DeRa at every lam of a range, from completions sampled at a few: multiple importance sampling.

Settings: {"task": {"name", "settings"}, "evaluation", "curve": the config's `dera.lam_curve.curve`, "max_new_tokens", "resamples"}.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import AutoTokenizer

import tasks
from dera.curve.reweighting import Curve, reweight, reweighted_kl
from dera.curve.sampled_lams import LamSamples
from dera.curve.sampling import sample_covering
from dera.estimators import Array
from dera.model.realigned import RealignedModel
from study import job


def rows(samples: LamSamples, quantities: dict[str, Curve], labels: dict) -> pd.DataFrame:
    """One row a lam: each quantity with its band, how well the samples cover it, and whether completions were sampled there."""
    first = next(iter(quantities.values()))
    columns = {
        "lam": first.lams,
        "ess": first.ess,
        "mass": first.mass,
        "supported": first.supported,
    }
    for name, curve in quantities.items():
        columns |= {name: curve.mean, f"{name}_low": curve.low, f"{name}_high": curve.high}
    sampled = [lam in samples.sampled_lams for lam in samples.grid]
    return pd.DataFrame(columns).assign(sampled=sampled, completions=len(samples.texts), **labels)


def gold_of(task: tasks.Task, samples: LamSamples) -> Array:
    """The task's verdict on each completion, shape (prompts, anchors, samples)."""
    found = tasks.judge(task, samples.row_prompts(), samples.texts, samples.token_ids)
    return np.array(found["gold"]).reshape(samples.lengths.shape)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder of the anchor's adapter"
    )
    parser.add_argument(
        "--labels", type=json.loads, default={}, help="columns to add to every row, as JSON"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file, a row a lam")
    args = parser.parse_args()
    settings, options = args.settings, args.settings["curve"]
    with job.running(
        " ".join([settings["task"]["name"], "curve", *map(str, args.labels.values())]), args
    ):
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"][
            : settings["evaluation"]["prompts"]
        ]
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        model = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True).to(
            job.device()
        )
        started = time.monotonic()
        samples = sample_covering(
            model,
            tokenizer,
            list(prompts),
            settings["max_new_tokens"],
            np.linspace(0, options["max_lam"], options["points"]),
            sampled_lams=options["sampled_lams"],
            samples=options["samples"],
            max_sampled_lams=options["max_sampled_lams"],
            batch_size=settings["evaluation"]["batch_size"],
            seed=args.seed,
        )
        seconds = time.monotonic() - started
        gold = gold_of(tasks.create(**settings["task"]), samples)
        bootstrap = {"resamples": settings["resamples"], "seed": args.seed}
        quantities = {
            "gold": reweight(samples, gold, **bootstrap),
            "kl": reweighted_kl(samples, **bootstrap),
        }
        table = rows(samples, quantities, {**args.labels, "decoding_seconds": seconds})
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
