"""How long a curve over many lams takes, as a ratio to decoding the prompts at a single lam.

Settings: `bench.settings.Decoding`. A YAML file says what is timed (`bench.settings.Timing`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.decoders import Pair
from bench.decoding import load
from bench.settings import CurveTiming, Decoding, read_timing
from bench.timing import ratios
from dera.curve.reweighting import lam_curve
from dera.decoding import sample_completions
from study import job


def time_curve(
    pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int
) -> dict[str, Any]:
    """Time a curve, and beside it decoding at lam = 0.5.

    Each repeat estimates a curve, and decodes as many completions of the same prompts at lam = 0.5
    as the curve draws at each sampled lam.

    Returns:
        The record that is published: the number of lams, the number of sampled lams, and the ratio
        of the two times.
    """
    curve_seconds = []
    decoding_seconds = []
    number_of_sampled_lams = 0
    # The first repeat warms up, and is not counted.
    for repeat in range(settings.repeats + 1):
        decoding_seconds.append(_time_decoding(pair, prompts, settings, seed + repeat))
        started = time.perf_counter()
        number_of_sampled_lams = _estimate_curve(pair, prompts, settings, seed + repeat)
        curve_seconds.append(time.perf_counter() - started)
    return {
        "lams": settings.points,
        "sampled_lams": number_of_sampled_lams,
        **ratios("ratio_to_decode", curve_seconds[1:], decoding_seconds[1:]),
        "repeats": settings.repeats,
    }


def _time_decoding(pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int) -> float:
    """Return the seconds that decoding takes at a single lam."""
    rows = [prompt for prompt in prompts for _ in range(settings.samples)]
    torch.manual_seed(seed)
    started = time.perf_counter()
    for start in range(0, len(rows), settings.batch):
        texts = rows[start : start + settings.batch]
        sample_completions(pair.adapter, pair.tokenizer, texts, pair.max_new_tokens, lam=0.5)
    return time.perf_counter() - started


def _estimate_curve(pair: Pair, prompts: Sequence[str], settings: CurveTiming, seed: int) -> int:
    """Estimate a curve, and return at how many lams completions were sampled for it."""
    _, drawn = lam_curve(
        pair.adapter,
        pair.tokenizer,
        prompts,
        _count_words,
        pair.max_new_tokens,
        np.linspace(0, settings.max_lam, settings.points).tolist(),
        samples=settings.samples,
        batch_size=settings.batch,
        seed=seed,
    )
    return len(drawn.sampled_lams)


def _count_words(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(len(completion.split())) for completion in completions]


def arguments() -> argparse.Namespace:
    parser = job.parser(__doc__)
    parser.add_argument("--what", type=Path, required=True, help="YAML file that says what to time")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of its adapter")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the record")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with job.running("bench, curve", args):
        settings = read_timing(args.what).curve
        prompts = pd.read_parquet(args.prompts)["prompt"].tolist()[: settings.prompts]
        pair = load(args.reference, args.adapter, job.settings_of(args, Decoding).max_new_tokens)
        job.write_json(args.output, time_curve(pair, prompts, settings, args.seed))


if __name__ == "__main__":
    main()
