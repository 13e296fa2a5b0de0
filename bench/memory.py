"""Measure what it costs to hold a pair in less memory, in time and in what is decoded.

The same pair is held in several ways (`bench.holdings`), and each is compared with two whole models
in 32 bits. For each way the job counts the peak memory while it decodes, and times it. At each lam
it measures the KL from the mixture of the two whole models, in nats a completion, and what the task
says of texts. Every way draws its texts with the same random numbers, so that ways which give the
same probabilities give the same texts.

Settings: `bench.settings.Memory`. A YAML file says what is measured (`bench.settings.Holding`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

import tasks
from bench.decoders import Decoded, Decoder, try_one_pass
from bench.holdings import LOADERS, check_quantises, reason_not_to_hold
from bench.peak import peak_bytes
from bench.provenance import provenance_of
from bench.settings import Holding, Memory, read_holding
from bench.timing import time_ways
from bench.ways import HOLDINGS, WHOLE, ratio_to
from dera import chat
from dera.completions import Completions
from dera.decoding import sample_completions
from dera.mixing import mix_logits
from dera.model.realigned import RealignedModel
from dera.teacher_forcing import normalised, parts_log_probs, sum_over_tokens
from eval.summarize import interval
from study import job

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """A pair that is held in one way.

    Attributes:
        pair: the pair.
        tokenizer: its tokenizer.
        max_new_tokens: how many tokens a completion has at most.
    """

    pair: RealignedModel
    tokenizer: Any
    max_new_tokens: int

    def decode(self, prompts: Sequence[str], lam: float) -> Decoded:
        """Continue prompts, and count the tokens that were written."""
        return Decoded(sum(self.draw(prompts, lam).lengths()))

    def draw(self, prompts: Sequence[str], lam: float) -> Completions:
        """Draw one completion of each prompt."""
        return sample_completions(self.pair, self.tokenizer, prompts, self.max_new_tokens, lam=lam)

    def log_probs(self, completions: Completions, lam: float) -> Tensor:
        """Return the mixture's next-token distributions, shape (tokens, vocabulary), in nats."""
        reference, aligned = parts_log_probs(self.pair, completions)
        weight = torch.full((len(reference),), lam, device=reference.device)
        return normalised(mix_logits(reference, aligned, weight))

    def peak_bytes(self, prompts: Sequence[str], lam: float) -> int:
        """Return the peak bytes of weights and tensors while the prompts are continued."""
        try_one_pass(self.pair)
        modules = [self.pair.reference, self.pair.aligned]
        return peak_bytes(partial(self.decode, prompts, lam), modules)


def kl_of_each(
    held: dict[str, Held], completions: Sequence[Completions], lam: float
) -> dict[str, Array]:
    """Return the KL from the two whole models to each way, one number for each completion.

    It is summed exactly over the vocabulary at every token of texts that the two whole models
    wrote.

    Args:
        held: the pair, held in every way.
        completions: batches of texts that `WHOLE` drew at this lam.
        lam: the mixing weight.

    Returns:
        For each way an array of shape (completions,), in nats.
    """
    sums: dict[str, list[Tensor]] = {way: [] for way in held}
    for batch in completions:
        expected = held[WHOLE].log_probs(batch, lam)
        for way, one in held.items():
            got = expected if way == WHOLE else one.log_probs(batch, lam)
            per_token = (expected.exp() * (expected - got)).sum(-1)
            sums[way].append(sum_over_tokens(per_token, batch).cpu())
    return {way: torch.cat(parts).numpy() for way, parts in sums.items()}


class Measuring:
    """Measures every way of holding one pair.

    Args:
        held: the pair, held in every way.
        task: judges texts.
        prompts: the texts that are continued.
        what: what is measured.
        seed: the seed of all texts.
    """

    def __init__(
        self,
        held: dict[str, Held],
        task: tasks.Task,
        prompts: list[str],
        what: Holding,
        seed: int,
    ):
        self.held = held
        self.task = task
        self.prompts = prompts
        self.what = what
        self.seed = seed

    def memory(self) -> dict[str, dict[str, Any]]:
        """Return for each way the peak bytes while it continues one prompt.

        All ways use the same random numbers, so that texts are about equally long.
        """
        lam = self.what.timing.lam
        found = {}
        for way, one in self.held.items():
            torch.manual_seed(self.seed)
            found[way] = {"peak_bytes": one.peak_bytes(self.prompts[:1], lam)}
        return found

    def times(self, batch: int) -> dict[str, dict[str, Any]]:
        """Return for each way its time a token at one size of batches.

        The columns are `batch N`, with its quartiles in `batch N_low` and `batch N_high`, as ratios
        to the two whole models; and `batch N, ms` in milliseconds.
        """
        timing = self.what.timing
        rows = timing.rows[batch]
        # Few prompts are repeated where more rows are timed than there are.
        prompts = (self.prompts * rows)[:rows]
        decoders: dict[str, Decoder] = {way: one.decode for way, one in self.held.items()}
        (records,) = time_ways(
            decoders,
            [WHOLE],
            prompts,
            batch,
            [timing.lam],
            timing.repeats,
            timing.once_above_seconds,
            self.seed,
        )
        columns = {}
        for record in records:
            found = {
                f"batch {batch}{end}": record[ratio_to(WHOLE) + end]
                for end in ("", "_low", "_high")
            }
            found[f"batch {batch}, ms"] = 1000 * record["seconds_per_token"]
            columns[record["method"]] = found
        return columns

    def at_lam(self, lam: float) -> dict[str, dict[str, Any]]:
        """Return for each way its KL at one lam, and what the task says of its texts."""
        drawn = {way: self._draw(one, lam) for way, one in self.held.items()}
        kl = kl_of_each(self.held, drawn[WHOLE], lam)
        judged = {way: self._judged(batches) for way, batches in drawn.items()}
        columns = {}
        for way in self.held:
            found = interval("kl", kl[way][None])
            for name, values in judged[way].items():
                # A measure that applies to fewer than two prompts has no interval.
                if np.isfinite(values).sum() > 1:
                    found |= interval(name, values[None])
            difference = judged[way]["gold"] - judged[WHOLE]["gold"]
            found |= interval("gold_difference", difference[None])
            columns[way] = {"lam": lam, **found}
        return columns

    def _draw(self, one: Held, lam: float) -> list[Completions]:
        """Draw a completion of each prompt. All ways use the same random numbers."""
        torch.manual_seed(self.seed)
        batch_size = self.what.batch_size
        return [
            one.draw(self.prompts[start : start + batch_size], lam)
            for start in range(0, len(self.prompts), batch_size)
        ]

    def _judged(self, batches: list[Completions]) -> dict[str, Array]:
        """Return what the task says of each completion; NaN where a measure does not apply."""
        ids = [row for batch in batches for row in batch.token_ids()]
        texts = self.held[WHOLE].tokenizer.batch_decode(ids)
        judged = tasks.judge(self.task, self.prompts, texts, ids)
        return {name: np.array(values, float) for name, values in judged.items()}


def arguments() -> argparse.Namespace:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--what", type=Path, required=True, help="YAML file that says what to measure"
    )
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for all records")
    parser.add_argument(
        "--provenance",
        type=Path,
        required=True,
        help="JSON file for what was measured, where and with what",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, Memory)
    what = read_holding(args.what)
    with job.running("bench memory", args) as progress, ExitStack() as stack:
        check_quantises()
        provenance = {**provenance_of(args), "task": settings.task.name}
        provenance["versions"]["bitsandbytes"] = metadata.version("bitsandbytes")
        prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"][: what.prompts])
        tokenizer = chat.prompt_tokenizer(args.reference)

        # Hold the pair in every way that the model allows.
        held = {}
        for way in HOLDINGS:
            reason = reason_not_to_hold(way, args.reference)
            if reason is not None:
                progress.say(f"left out: {HOLDINGS[way].described}, because {reason}")
                continue
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            pair = LOADERS[way](args.reference, args.adapter, scratch)
            held[way] = Held(pair, tokenizer, settings.max_new_tokens)
        measuring = Measuring(held, settings.task.create(), prompts, what, args.seed)

        # Measure memory and time, which are the same at every lam.
        total = 1 + len(what.timing.rows) + len(what.lams)
        shared = measuring.memory()
        progress.update(1, total, "measurements")
        for done, batch in enumerate(what.timing.rows, start=2):
            for way, columns in measuring.times(batch).items():
                shared[way] |= columns
            progress.update(done, total, "measurements")

        # Measure what is decoded.
        records = []
        for done, lam in enumerate(what.lams, start=2 + len(what.timing.rows)):
            for way, columns in measuring.at_lam(lam).items():
                records.append({"way": way, **shared[way], **columns})
            progress.update(done, total, "measurements")
        job.write_json(args.output, records)

        # Say what was measured, where and with what.
        job.write_json(args.provenance, provenance)


if __name__ == "__main__":
    main()
