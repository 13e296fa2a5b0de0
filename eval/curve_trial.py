"""Compare the curve over lam with brute force at the same budget, on a trained pair.

Run it by `snakemake curve_trial --cores 1`. The truth at each lam is the mean of many completions
decoded there. Two estimators are measured against it: the curve, from completions sampled at four
lams, and brute force, which spreads its completions over all lams. Both are repeated over disjoint
subsets of what was sampled. Errors are root mean squares over lams and repeats, and still contain
the truth's own error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tasks
from dera.curve.reweighting import reweight
from dera.curve.sampled_lams import LamSamples
from dera.curve.sampling import sample_at_lams
from dera.estimators import Array
from dera.model.realigned import RealignedModel
from eval.curve import Evaluation, gold_of, load_pair, read_prompts
from study import job

LAMS = tuple(round(0.1 * i, 1) for i in range(21))
SAMPLED_LAMS = (0.0, 0.3, 0.8, 2.0)
PROMPTS = 128
#: Completions of a prompt at each lam, for the truth and for the curve.
TRUTH_SAMPLES = 84
CURVE_SAMPLES = 84
#: Completions of a prompt at each lam that one repeat uses. Their products with the numbers of lams
#: make the budgets of the two estimators meet at 84 completions of a prompt.
CURVE_SIZES = (2, 5, 21)
BRUTE_FORCE_SIZES = (1, 4)


@job.settings_class
class Settings:
    """Settings of this job."""

    task: tasks.TaskSettings
    evaluation: Evaluation
    max_new_tokens: int


def subsets(samples: LamSamples, values: Array, size: int) -> Iterator[tuple[LamSamples, Array]]:
    """Yield disjoint subsets with `size` completions of each prompt and lam, and their values."""
    for start in range(0, samples.lengths.shape[-1] - size + 1, size):
        cut = slice(start, start + size)
        subset = replace(
            samples,
            texts=[],
            token_ids=[],
            lengths=samples.lengths[..., cut],
            reference=samples.reference[..., cut],
            aligned=samples.aligned[..., cut],
            log_z=samples.log_z[..., cut],
        )
        yield subset, values[..., cut]


def compare(truth_values: Array, samples: LamSamples, values: Array) -> pd.DataFrame:
    """Return the errors of the curve and of brute force, with a row for each estimator and budget.

    Args:
        truth_values: gold of the completions decoded at each lam, shape (prompts, lams, samples).
        samples: the curve's completions.
        values: their gold, shape (prompts, sampled lams, samples).
    """
    truth = truth_values.mean((0, 2))
    rows = [_curve_row(truth, samples, values, size) for size in CURVE_SIZES]
    rows += [_brute_force_row(truth_values, size) for size in BRUTE_FORCE_SIZES]
    return pd.DataFrame(rows)


def _curve_row(truth: Array, samples: LamSamples, values: Array, size: int) -> dict[str, Any]:
    """Return the errors of curves from `size` completions of each prompt and sampled lam."""
    places = [samples.grid.index(lam) for lam in LAMS]
    curves = [
        reweight(subset, subset_values, resamples=2)
        for subset, subset_values in subsets(samples, values, size)
    ]
    errors = np.array([curve.mean[places] - truth for curve in curves])
    ess = np.mean([curve.ess[places] for curve in curves], axis=0)
    return {
        "estimator": "curve",
        "completions a prompt": len(SAMPLED_LAMS) * size,
        **_root_mean_squares(errors),
        "minimum ESS": ess.min(),
        "maximum ESS": ess.max(),
    }


def _brute_force_row(truth_values: Array, size: int) -> dict[str, Any]:
    """Return the errors of means of `size` completions of each prompt and lam."""
    starts = range(0, TRUTH_SAMPLES - size + 1, size)
    errors = [_error_against_the_rest(truth_values, slice(start, start + size)) for start in starts]
    return {
        "estimator": "brute force",
        "completions a prompt": len(LAMS) * size,
        **_root_mean_squares(np.array(errors)),
    }


def _error_against_the_rest(values: Array, subset: slice) -> Array:
    """Return the mean of a subset less the mean of the completions that are not in it."""
    rest = np.delete(values, np.r_[subset], -1)
    return values[..., subset].mean((0, 2)) - rest.mean((0, 2))


def _root_mean_squares(errors: Array) -> dict[str, float]:
    """Summarise errors of shape (repeats, lams)."""
    squares = errors**2
    return {
        "error": float(np.sqrt(squares.mean())),
        "largest error over lam": float(np.sqrt(squares.mean(0).max())),
        "repeats": len(errors),
    }


def decode_truth(
    model: RealignedModel,
    tokenizer: Any,
    prompts: list[str],
    task: tasks.Task,
    seed: int,
    progress: job.Progress,
    **decoding: Any,
) -> Array:
    """Decode at every lam, and return gold of shape (prompts, lams, samples)."""
    gold = []
    for number, lam in enumerate(LAMS, start=1):
        samples = sample_at_lams(
            model,
            tokenizer,
            prompts,
            [lam],
            samples=TRUTH_SAMPLES,
            seed=seed + 1000 + number,
            **decoding,
        )
        gold.append(gold_of(task, samples))
        progress.update(number, len(LAMS) + 1, "values of lam")
    return np.concatenate(gold, 1)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapter", type=Path, required=True, help="folder of the aligned model's adapter"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="CSV file with a row an estimator and budget"
    )
    args = parser.parse_args()
    settings = job.settings_of(args, Settings)
    with job.running("curve trial", args) as progress:
        # Load what both estimators and the truth share.
        prompts = read_prompts(args.prompts, PROMPTS)
        model, tokenizer = load_pair(args.reference, args.adapter)
        task = settings.task.create()
        decoding: dict[str, Any] = {
            "max_new_tokens": settings.max_new_tokens,
            "batch_size": settings.evaluation.batch_size,
        }

        # The truth at every lam, then the completions of the curve.
        truth = decode_truth(model, tokenizer, prompts, task, args.seed, progress, **decoding)
        samples = sample_at_lams(
            model,
            tokenizer,
            prompts,
            SAMPLED_LAMS,
            grid=LAMS,
            samples=CURVE_SAMPLES,
            seed=args.seed,
            **decoding,
        )
        table = compare(truth, samples, gold_of(task, samples))
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
