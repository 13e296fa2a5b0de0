"""How close the lam curve comes to brute force at the same budget, on a trained pair: `snakemake curve_trial --cores 1`.

The truth at each lam is the mean of many completions decoded there. Against it: the curve from completions at four anchors, and brute
force, which spreads its completions over all lam. Both repeat over disjoint parts of what was sampled; errors are root mean
squares over lam and repeats, with the truth's own error still in them.

Settings: {"task": {"name", "settings"}, "evaluation", "max_new_tokens"}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import AutoTokenizer

import tasks
from dera.curve.reweighting import reweight
from dera.curve.sampled_lams import LamSamples
from dera.curve.sampling import sample_at_lams
from dera.estimators import Array
from dera.model.realigned import RealignedModel
from eval.curve import gold_of
from study import job

LAMS = tuple(round(0.1 * i, 1) for i in range(21))
ANCHORS = (0.0, 0.3, 0.8, 2.0)
PROMPTS, TRUTH_SAMPLES, ANCHOR_SAMPLES = 128, 84, 84


def parts(samples: LamSamples, values: Array, size: int) -> Iterator[tuple[LamSamples, Array]]:
    """Disjoint subsets with `size` completions of each prompt and anchor, and their values."""
    for start in range(0, samples.lengths.shape[-1] - size + 1, size):
        cut = slice(start, start + size)
        arrays = {
            name: getattr(samples, name)[..., cut]
            for name in ("lengths", "reference", "aligned", "log_z")
        }
        yield replace(samples, texts=[], token_ids=[], **arrays), values[..., cut]


def compare(truth_values: Array, samples: LamSamples, values: Array) -> pd.DataFrame:
    """Errors of the curve and of brute force; gold of shapes (P, lams, S) and (P, anchors, S)."""
    where = [samples.grid.index(lam) for lam in LAMS]
    rows = []
    for size in (2, 5, 21):
        truth = truth_values.mean((0, 2))
        curves = [reweight(part, v, resamples=2) for part, v in parts(samples, values, size)]
        errors = np.array([curve.mean[where] - truth for curve in curves])
        ess = np.mean([curve.ess[where] for curve in curves], 0)
        rows.append(
            {
                "method": "curve",
                "completions a prompt": len(ANCHORS) * size,
                **_size(errors),
                "least ESS": ess.min(),
                "largest ESS": ess.max(),
            }
        )
    for size in (1, 4):
        starts = range(0, TRUTH_SAMPLES - size + 1, size)
        # each part against the others, which do not contain it
        errors = np.array([_apart(truth_values, slice(start, start + size)) for start in starts])
        rows.append(
            {"method": "brute force", "completions a prompt": len(LAMS) * size, **_size(errors)}
        )
    return pd.DataFrame(rows)


def _apart(values: Array, part: slice) -> Array:
    rest = np.delete(values, np.r_[part], -1)
    return values[..., part].mean((0, 2)) - rest.mean((0, 2))


def _size(errors: Array) -> dict[str, float]:
    squares = errors**2
    return {
        "error": float(np.sqrt(squares.mean())),
        "largest error over lam": float(np.sqrt(squares.mean(0).max())),
        "repeats": len(errors),
    }


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder of the anchor's adapter"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file, a row a method and budget"
    )
    args = parser.parse_args()
    with job.running("curve trial", args) as progress:
        prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"])[:PROMPTS]
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        model = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True).to(
            job.device()
        )
        task = tasks.create(**args.settings["task"])
        options = dict(
            max_new_tokens=args.settings["max_new_tokens"],
            batch_size=args.settings["evaluation"]["batch_size"],
        )
        truth = []
        for number, lam in enumerate(LAMS, start=1):
            seed = args.seed + 1000 + number
            here = sample_at_lams(
                model, tokenizer, prompts, [lam], samples=TRUTH_SAMPLES, seed=seed, **options
            )
            truth.append(gold_of(task, here))
            progress.update(number, len(LAMS) + 1, "values of lam")
        samples = sample_at_lams(
            model,
            tokenizer,
            prompts,
            ANCHORS,
            grid=LAMS,
            samples=ANCHOR_SAMPLES,
            seed=args.seed,
            **options,
        )
        table = compare(np.concatenate(truth, 1), samples, gold_of(task, samples))
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
