"""Time each way of decoding the mixture, in ratios to one model, and count the memory it takes.

A run of this job times one pair at one size of batches. `bench.timing` says how the ways are timed,
and `bench.gather` puts the records of all runs together.

Settings: `bench.settings.Decoding`. A YAML file says what is timed (`bench.settings.Timing`).
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.decoders import Pair, try_one_pass
from bench.peak import peak_bytes, weight_bytes
from bench.provenance import provenance_of
from bench.settings import Decoding, LargerPair, StudyPair, Timing, read_timing
from bench.timing import ratios, time_once, time_ways
from bench.ways import ONE_MODEL, ratio_to
from dera import chat
from dera.model.realigned import RealignedModel
from study import job

#: How many numbers are read to find how fast this machine reads, and how often.
READ_NUMBERS = 2**27
READ_REPEATS = 5


def load(
    reference: Path,
    adapter: Path,
    max_new_tokens: int,
    dtype: str = "float32",
    compiler: str | None = None,
) -> Pair:
    """Load a pair, as two whole models and as a base with an adapter.

    Args:
        reference: the folder of the reference.
        adapter: the folder of the adapter that makes the aligned model of it.
        max_new_tokens: the longest completion.
        dtype: the numbers that weights are, by torch's name.
        compiler: what compiles a step, as torch calls its backend; None for no compiled way.
    """
    options: dict[str, Any] = dict(dtype=getattr(torch, dtype))
    whole = RealignedModel.from_pretrained(reference, adapter, merge_adapter=True, **options)
    apart = RealignedModel.from_pretrained(reference, adapter, merge_adapter=False, **options)
    tokenizer = chat.prompt_tokenizer(reference)
    device = job.device()
    return Pair(tokenizer, whole.to(device), apart.to(device), max_new_tokens, compiler)


def memory(pair: Pair, prompts: Sequence[str], lam: float) -> dict[str, int]:
    """Return the peak bytes of each way's weights and tensors while it decodes one batch.

    On a CPU it cannot be counted within a graph, so that compiled ways are left out.
    """
    try_one_pass(pair.adapter)
    on_cpu = pair.whole.device.type == "cpu"
    ways = pair.uncompiled() if on_cpu else pair.decoders()
    return {
        way: peak_bytes(partial(decode, prompts, lam), pair.modules(way))
        for way, decode in ways.items()
    }


def random_texts(count: int, settings: LargerPair, seed: int) -> list[str]:
    """Return prompts of random words, all of one length."""
    numbers = random.Random(seed)
    vocabulary = settings.make.shape["vocab_size"]
    texts = []
    for _ in range(count):
        words = [f"w{numbers.randrange(2, vocabulary)}" for _ in range(settings.prompt_words)]
        texts.append(" ".join(words))
    return texts


def records_of(
    pair: Pair, prompts: list[str], settings: StudyPair, batch: int, timing: Timing, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """Time one pair at one size of batches.

    Yields:
        For each lam, the records of every way of decoding.
    """
    lams = timing.lams
    # This comes first, because what has run once is compiled. Every prompt is decoded, because a
    # step is compiled again for another length of prompts.
    first_run_seconds = {
        way: time_once(decode, prompts, batch, lams[0], seed).seconds
        for way, decode in pair.compiled().items()
    }
    peak_bytes_by_way = memory(pair, prompts[:batch], 0.5)
    reading = _seconds_to_read(weight_bytes(pair.modules("loop")), pair.whole.device) / batch

    # Both times of a ratio come from the same repeat.
    units = [way for way in ONE_MODEL if way in pair.decoders()]
    timed = time_ways(
        pair.decoders(),
        units,
        prompts,
        batch,
        lams,
        settings.repeats,
        timing.once_above_seconds,
        seed,
    )
    for records in timed:
        for record in records:
            way = record["method"]
            record["peak_bytes"] = peak_bytes_by_way.get(way)
            record["first_run_seconds"] = first_run_seconds.get(way)
        yield [*records, _bound(records, units, reading)]


def _seconds_to_read(count: int, device: torch.device) -> float:
    """Return how long this machine takes to read so many bytes from memory, once."""
    numbers = torch.ones(READ_NUMBERS, device=device)
    seconds = []
    for _ in range(READ_REPEATS):
        started = time.perf_counter()
        numbers.sum().item()  # it waits for the device
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)) * count / (READ_NUMBERS * numbers.element_size())


def _bound(records: list[dict[str, Any]], units: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return a record of reading one model's weights from memory, once for each step.

    No way takes less time, unless the weights fit into the processor's cache.

    Args:
        records: the records of all ways at one lam.
        units: the ways to which all others are compared.
        seconds: how long it takes for each token, if no row of a batch ends early.
    """
    by_way = {record["method"]: record for record in records}
    bound = dict.fromkeys(records[0]) | {"method": "reading", "seconds_per_token": seconds}
    bound |= {name: records[0][name] for name in ("batch", "lam")}
    for unit in units:
        bound |= ratios(ratio_to(unit), [seconds], [by_way[unit]["seconds_per_token"]])
    return bound


def arguments() -> argparse.Namespace:
    parser = job.parser(__doc__)
    parser.add_argument("--what", type=Path, required=True, help="YAML file that says what to time")
    parser.add_argument("--pair", required=True, help="the pair to time, as the YAML file names it")
    parser.add_argument("--batch", type=int, required=True, help="the size of batches")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of its adapter")
    parser.add_argument(
        "--prompts",
        type=Path,
        help="Parquet file with a column prompt, for the study's pair; others get random words",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the records")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with job.running(f"bench, {args.pair}, batch {args.batch}", args) as progress:
        provenance = provenance_of(args)
        timing = read_timing(args.what)
        settings = timing.pairs[args.pair]
        count = settings.rows[args.batch]

        # Load the pair and its prompts.
        if isinstance(settings, LargerPair):
            prompts = random_texts(count, settings, args.seed)
            max_new_tokens = settings.max_new_tokens
        else:
            prompts = pd.read_parquet(args.prompts)["prompt"].tolist()[:count]
            max_new_tokens = job.settings_of(args, Decoding).max_new_tokens
        pair = load(args.reference, args.adapter, max_new_tokens, settings.dtype, timing.compiler)

        # Time every way of decoding.
        records = []
        timed = records_of(pair, prompts, settings, args.batch, timing, args.seed)
        for done, of_lam in enumerate(timed, start=1):
            records += [{"pair": args.pair, **record} for record in of_lam]
            progress.update(done, len(timing.lams), "lams")
        job.write_json(args.output, {"provenance": provenance, "records": records})


if __name__ == "__main__":
    main()
