"""Time each way of decoding the mixture, in ratios to one model, and count the memory it takes.

`bench.timing` says how the ways are timed.

Settings: `bench.settings.Decoding`. A YAML file says what is timed (`bench.settings.Timing`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bench.curve import time_curve
from bench.decoders import Pair, try_one_pass
from bench.peak import peak_bytes
from bench.provenance import provenance_of
from bench.settings import Decoding, LargerPair, StudyPair, Timing, read_timing
from bench.timing import time_ways
from dera import chat
from dera.model.realigned import RealignedModel
from study import job

#: The ways with one model, to which all other ways are compared.
ONE_MODEL = ("generate", "loop")


@dataclass(frozen=True)
class Subject:
    """A pair that is timed.

    Attributes:
        name: what records call the pair.
        pair: the models.
        prompts: the texts that they continue.
        settings: how they are timed.
    """

    name: str
    pair: Pair
    prompts: list[str]
    settings: StudyPair | LargerPair


def memory(pair: Pair, prompts: Sequence[str], lam: float) -> dict[str, int]:
    """Return the peak bytes of each way's weights and tensors while it decodes one batch."""
    try_one_pass(pair.adapter)
    return {
        way: peak_bytes(partial(decode, prompts, lam), pair.modules(way))
        for way, decode in pair.decoders().items()
    }


def load(folders: Sequence[Path], max_new_tokens: int) -> Pair:
    """Load a pair, from folders of a reference and an adapter.

    The pair is held as two whole models, and as a base with an adapter.
    """
    reference, adapter = folders
    whole = RealignedModel.from_pretrained(reference, adapter, merge_adapter=True)
    with_adapter = RealignedModel.from_pretrained(reference, adapter, merge_adapter=False)
    tokenizer = chat.prompt_tokenizer(reference)
    device = job.device()
    return Pair(tokenizer, whole.to(device), with_adapter.to(device), max_new_tokens)


def subjects(args: argparse.Namespace, timing: Timing) -> list[Subject]:
    """Load both pairs and their prompts: the study's texts, and random words for the larger."""
    # The study's pair.
    texts = pd.read_parquet(args.prompts)["prompt"].tolist()
    max_new_tokens = job.settings_of(args, Decoding).max_new_tokens
    name, settings = timing.study_pair()
    study = Subject(name, load(args.study, max_new_tokens), texts, settings)

    # The larger pair.
    larger_name, larger_settings = timing.larger_pair()
    words = random_texts(len(texts), larger_settings, args.seed)
    pair = load(args.larger, larger_settings.max_new_tokens)
    return [study, Subject(larger_name, pair, words, larger_settings)]


def random_texts(count: int, settings: LargerPair, seed: int) -> list[str]:
    """Return prompts of random words, all of one length."""
    numbers = random.Random(seed)
    vocabulary = settings.make.shape["vocab_size"]
    texts = []
    for _ in range(count):
        words = [f"w{numbers.randrange(2, vocabulary)}" for _ in range(settings.prompt_words)]
        texts.append(" ".join(words))
    return texts


def records_of(subject: Subject, timing: Timing, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Time one pair.

    Yields:
        For each size of batches and each lam, the records of every way of decoding.
    """
    for batch in timing.batches:
        peak_bytes_by_way = memory(subject.pair, subject.prompts[:batch], 0.5)
        timed = time_ways(
            subject.pair.decoders(),
            ONE_MODEL,
            subject.prompts[: subject.settings.rows[batch]],
            batch,
            timing.lams,
            subject.settings.repeats,
            timing.once_above_seconds,
            seed,
        )
        for records in timed:
            for record in records:
                record["pair"] = subject.name
                record["peak_bytes"] = peak_bytes_by_way[record["method"]]
            yield records


def arguments() -> argparse.Namespace:
    parser = job.parser(__doc__)
    parser.add_argument("--what", type=Path, required=True, help="YAML file that says what to time")
    for name in ("study", "larger"):
        parser.add_argument(
            f"--{name}",
            type=Path,
            nargs=2,
            required=True,
            help="folders of a reference and its adapter",
        )
    parser.add_argument(
        "--prompts",
        type=Path,
        required=True,
        help="Parquet file with a column prompt, for the study's pair",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for all records")
    parser.add_argument(
        "--curve", type=Path, required=True, help="JSON file for what a curve over lam costs"
    )
    parser.add_argument(
        "--provenance",
        type=Path,
        required=True,
        help="JSON file for what was timed, where and with what",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with job.running("bench", args) as progress:
        timing = read_timing(args.what)
        study, larger = subjects(args, timing)

        # Time a curve over lam.
        texts = study.prompts[: timing.curve.prompts]
        job.write_json(args.curve, time_curve(study.pair, texts, timing.curve, args.seed))

        # Time every way of decoding.
        records = []
        done = 0
        total = 2 * len(timing.batches) * len(timing.lams)
        for subject in (study, larger):
            for records_at_lam in records_of(subject, timing, args.seed):
                records += records_at_lam
                done += 1
                progress.update(done, total, "combinations of pair, batch and lam")
        job.write_json(args.output, records)

        # Say what was timed, where and with what.
        job.write_json(args.provenance, provenance_of(args))


if __name__ == "__main__":
    main()
