"""How long each way of decoding takes a token, in ratios to a few of the ways.

Every repeat runs every way once, one after another, so that other work of the machine slows all
ways alike. Both times of a ratio come from the same repeat. The median and the quartiles over
repeats are reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.decoders import Decoder
from bench.ways import ratio_to


@dataclass(frozen=True)
class Run:
    """All prompts decoded once.

    Attributes:
        seconds: how long it took.
        tokens: how many tokens were written.
        drafted: how many tokens speculative decoding drafted.
        accepted: how many of these it kept.
    """

    seconds: float
    tokens: int
    drafted: int
    accepted: int


def time_ways(
    decoders: Mapping[str, Decoder],
    units: Sequence[str],
    prompts: Sequence[str],
    batch: int,
    lams: Sequence[float],
    repeats: int,
    once_above: float,
    seed: int,
) -> Iterator[list[dict[str, Any]]]:
    """Time every way of decoding at each lam.

    Every way is run once to warm up. A way for which that takes longer than `once_above` seconds is
    not run again: that run, at the first lam, is its only one.

    Args:
        decoders: the ways of decoding, by their names.
        units: the ways to which all others are compared. They are timed in every repeat.
        prompts: what to continue.
        batch: how many prompts are decoded together.
        lams: the mixing weights.
        repeats: how often each way is timed at each lam.
        once_above: the seconds above which a way is run only once.
        seed: the seed of the first repeat. Each further repeat has the next seed.

    Yields:
        For each lam a record of each way: its time a token, its ratios to the units, and the share
        of drafts that were kept.
    """
    # Warm up, and find the slow ways.
    slow = {}
    for way, decode in decoders.items():
        run = time_once(decode, prompts, batch, lams[0], seed)
        if run.seconds > once_above and way not in units:
            slow[way] = run
    in_turn = [way for way in decoders if way not in slow]

    # Time all other ways at each lam.
    for lam in lams:
        runs: dict[str, list[Run]] = {way: [] for way in in_turn}
        if lam == lams[0]:
            runs |= {way: [run] for way, run in slow.items()}
        for repeat in range(repeats):
            # Each repeat begins with another way.
            first = repeat % len(in_turn)
            for way in in_turn[first:] + in_turn[:first]:
                run = time_once(decoders[way], prompts, batch, lam, seed + repeat)
                runs[way].append(run)
        yield [record_of(way, runs, units, batch, lam) for way in decoders if way in runs]


def time_once(decode: Decoder, prompts: Sequence[str], batch: int, lam: float, seed: int) -> Run:
    """Decode all prompts in batches, and measure the time."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    decoded = [decode(prompts[i : i + batch], lam) for i in range(0, len(prompts), batch)]
    seconds = time.perf_counter() - started
    return Run(
        seconds,
        tokens=sum(batch_decoded.tokens for batch_decoded in decoded),
        drafted=sum(batch_decoded.drafted for batch_decoded in decoded),
        accepted=sum(batch_decoded.accepted for batch_decoded in decoded),
    )


def record_of(
    way: str, runs: dict[str, list[Run]], units: Sequence[str], batch: int, lam: float
) -> dict[str, Any]:
    """Return the record of one way at one lam, as it is published.

    Args:
        way: the way of decoding.
        runs: the runs of every way.
        units: the ways that it is compared to.
        batch: how many prompts were decoded together.
        lam: the mixing weight.
    """
    of_way = runs[way]
    seconds = _seconds_a_token(of_way)
    drafted = sum(run.drafted for run in of_way)
    accepted = sum(run.accepted for run in of_way)
    compared: dict[str, float] = {}
    for unit in units:
        compared |= ratios(ratio_to(unit), seconds, _seconds_a_token(runs[unit]))
    return {
        "method": way,
        "batch": batch,
        "lam": lam,
        **compared,
        "seconds_per_token": float(np.median(seconds)),
        "acceptance": accepted / drafted if drafted else None,
        "repeats": len(seconds),
    }


def ratios(name: str, times: Sequence[float], unit: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of the ratios within each repeat, for a record.

    Args:
        name: what the record calls the ratio.
        times: one for each repeat, or a single one.
        unit: the times to divide by, one for each repeat.
    """
    within_repeat = np.array(times) / np.array(unit)
    low, middle, high = np.quantile(within_repeat, [0.25, 0.5, 0.75])
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}


def _seconds_a_token(runs: list[Run]) -> list[float]:
    return [run.seconds / run.tokens for run in runs]
