"""Time the decoding of one model and of two on the same prompts, one after the other, many times.

The job writes timings.csv with a row for each repeat: the seconds a token of one model and of two,
the wall-clock over the processor's seconds, and the bytes of the parameters of one model, of the
two together and of the adapter, which are the same in every row. The job should have the machine
to itself. A repeat in which the clock runs on while the processor does not says that it had not.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from dera import chat
from dera.decoding import sample_completions
from dera.model.realigned import RealignedModel
from eval.decode import held_out
from study import job
from study.job import settings_class

LAM = 0.5  # a weight at which both models have a share


@settings_class
class Timing:
    """How many held-out prompts are decoded in a repeat, how long a completion may be, and repeats.

    The first repeat warms up and is not counted.
    """

    prompts: int
    max_new_tokens: int
    repeats: int


def seconds_a_token(
    model: object, tokenizer: object, prompts: list[str], settings: Timing, lam: float | None
) -> tuple[float, float]:
    """Return wall-clock seconds a token, and wall-clock over processor seconds.

    Every completion is decoded to its end. Completions of the two ways differ in length, so that
    seconds are counted for each token.
    """
    wall = time.perf_counter()
    processor = time.process_time()
    drawn = sample_completions(model, tokenizer, prompts, settings.max_new_tokens, lam=lam)
    wall = time.perf_counter() - wall
    processor = time.process_time() - processor
    tokens = sum(map(len, drawn.token_ids())) + sum(drawn.finished())
    return wall / tokens, wall / max(processor, 1e-9)


def time_both(
    pair: RealignedModel, tokenizer: object, prompts: list[str], settings: Timing
) -> list[dict[str, float]]:
    """Return the seconds a token of one model and of two, in every repeat.

    Which of the two goes first alternates.
    """
    ways = [("one model", pair.aligned, None), ("two models", pair, LAM)]
    repeats = []
    for number in range(settings.repeats + 1):
        repeat: dict[str, float] = {"wall over processor": 0.0}
        for name, model, lam in ways if number % 2 else reversed(ways):
            seconds, busy = seconds_a_token(model, tokenizer, prompts, settings, lam)
            repeat[name] = seconds
            repeat["wall over processor"] = max(repeat["wall over processor"], busy)
        repeats.append(repeat)
    return repeats[1:]


def parameter_bytes(model: nn.Module) -> int:
    """Return the bytes that a model's parameters take."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="CSV file for the timings")
    args = parser.parse_args()
    settings = job.settings_of(args, Timing)
    with job.running("time decoding", args) as progress:
        torch.manual_seed(args.seed)
        prompts = held_out(args.prompts, settings.prompts)
        tokenizer = chat.prompt_tokenizer(args.reference)
        pair = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True)
        shared = RealignedModel.from_pretrained(args.reference, args.adapter)
        one = parameter_bytes(pair.aligned)
        repeats = time_both(pair.to(job.device()), tokenizer, prompts, settings)
        progress.say(f"{len(repeats)} repeats")
        table = pd.DataFrame(repeats).assign(
            **{
                "model bytes": one,
                "pair bytes": parameter_bytes(pair),
                "adapter bytes": parameter_bytes(shared) - one,
            }
        )
        with job.atomic_path(args.output) as path:
            table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
