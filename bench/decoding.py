"""Time each way of decoding the mixture, in ratios to one model, and count the memory it takes.

Every repeat runs every method once, one after another, so that whatever else the machine does meets all of them alike; a ratio is
of two times of one repeat. Reported are medians over repeats, and the quartiles.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from transformers import AutoTokenizer

from bench.methods import Bench, Decoded
from bench.peak import peak_bytes
from dera.curve.reweighting import lam_curve
from dera.decoding import sample_completions
from dera.model.realigned import RealignedModel
from study import job
from study.provenance import versions


def time_methods(
    bench: Bench,
    prompts: Sequence[str],
    batch: int,
    lams: Sequence[float],
    repeats: int,
    once_above: float,
    seed: int,
) -> Iterator[list[dict[str, Any]]]:
    """For each lam a record a method: its time a token at this batch, its ratios to one model, the share of drafts kept.

    Every method is run once to warm up. One for which that takes longer than `once_above` seconds is not run again: that run, at
    the first lam, is its only one.
    """
    methods, slow = bench.methods(), {}
    for method, decode in methods.items():
        run = _run(decode, prompts, batch, lams[0], seed)
        if run.passed > once_above and method not in (
            "generate",
            "loop",
        ):  # which all ratios are to
            slow[method] = run
    for lam in lams:
        runs = {method: [run] for method, run in slow.items()} if lam == lams[0] else {}
        for number in range(repeats):
            timed = [method for method in methods if method not in slow]
            first = number % len(timed)
            for method in timed[first:] + timed[:first]:
                runs.setdefault(method, []).append(
                    _run(methods[method], prompts, batch, lam, seed + number)
                )
        yield [_record(method, runs, batch, lam) for method in methods if method in runs]


@dataclass(frozen=True)
class _Run:
    passed: float  # seconds
    tokens: int
    drafted: int
    accepted: int


def _run(
    decode: Callable[[Sequence[str], float], Decoded],
    prompts: Sequence[str],
    batch: int,
    lam: float,
    seed: int,
) -> _Run:
    torch.manual_seed(seed)
    started = time.perf_counter()
    found = [decode(prompts[i : i + batch], lam) for i in range(0, len(prompts), batch)]
    passed = time.perf_counter() - started
    tokens, drafted, accepted = (
        sum(getattr(each, name) for each in found) for name in ("tokens", "drafted", "accepted")
    )
    return _Run(passed, tokens, drafted, accepted)


def _record(method: str, runs: dict[str, list[_Run]], batch: int, lam: float) -> dict[str, Any]:
    seconds = {
        name: [run.passed / run.tokens for run in of_method] for name, of_method in runs.items()
    }
    drafted, accepted = (
        sum(getattr(run, name) for run in runs[method]) for name in ("drafted", "accepted")
    )
    return {
        "method": method,
        "batch": batch,
        "lam": lam,
        **_ratios("ratio_to_generate", seconds[method], seconds["generate"]),
        **_ratios("ratio_to_loop", seconds[method], seconds["loop"]),
        "seconds_per_token": float(np.median(seconds[method])),
        "acceptance": accepted / drafted if drafted else None,
        "repeats": len(seconds[method]),
    }


def _ratios(name: str, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within each repeat; of a method that was run once, over the repeats of the other."""
    ratios = np.array(ours) / np.array(theirs)
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}


def memory(bench: Bench, prompts: Sequence[str], lam: float) -> dict[str, int]:
    """The most bytes that each method's weights and tensors take, decoding these prompts in one batch."""
    if bench.adapter.one_pass is not None:
        _ = bench.adapter.one_pass.ready  # which is tried once, and not counted
    return {
        name: peak_bytes(partial(decode, prompts, lam), bench.modules(name))
        for name, decode in bench.methods().items()
    }


def time_curve(
    bench: Bench, prompts: Sequence[str], settings: dict[str, Any], seed: int
) -> dict[str, Any]:
    """What a curve over many lam costs, in decodes of the same prompts, as often, at a single lam."""
    lams = np.linspace(0, settings["max_lam"], settings["points"]).tolist()
    rows = [prompt for prompt in prompts for _ in range(settings["samples"])]
    curves, decodes, anchors = [], [], 0
    for number in range(settings["repeats"] + 1):
        torch.manual_seed(seed + number)
        started = time.perf_counter()
        for start in range(0, len(rows), settings["batch"]):
            texts = rows[start : start + settings["batch"]]
            sample_completions(bench.adapter, bench.tokenizer, texts, bench.max_new_tokens, lam=0.5)
        decodes.append(time.perf_counter() - started)
        started = time.perf_counter()
        options = dict(
            samples=settings["samples"], batch_size=settings["batch"], seed=seed + number
        )
        _, drawn = lam_curve(
            bench.adapter, bench.tokenizer, prompts, _words, bench.max_new_tokens, lams, **options
        )
        curves.append(time.perf_counter() - started)
        anchors = len(drawn.sampled_lams)
    ratios = _ratios("ratio_to_decode", curves[1:], decodes[1:])  # the first was to warm up
    return {"lams": len(lams), "sampled_lams": anchors, **ratios, "repeats": settings["repeats"]}


def _words(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(len(each.split())) for each in completions]


def load(reference: Path, adapter: Path, max_new_tokens: int) -> Bench:
    """A pair as two whole models and as a base with an adapter."""
    whole, together = (
        RealignedModel.from_pretrained(reference, adapter, merge_adapter=merged)
        for merged in (True, False)
    )
    return Bench(
        AutoTokenizer.from_pretrained(reference),
        whole.to(job.device()),
        together.to(job.device()),
        max_new_tokens,
    )


def _device() -> str:
    """The accelerator's name, or the processor's."""
    if job.device() == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def main() -> None:
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
        help="Parquet file with a column prompt, of the study's pair",
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file of all records")
    parser.add_argument(
        "--curve", type=Path, required=True, help="JSON file of what a curve over lam costs"
    )
    parser.add_argument(
        "--provenance",
        type=Path,
        required=True,
        help="JSON file of what was timed, where and with what",
    )
    args = parser.parse_args()
    with job.running("bench", args) as progress:
        what = yaml.safe_load(args.what.read_text())
        (study, own), (larger, other) = sorted(
            what["pairs"].items(), key=lambda pair: "make" in pair[1]
        )
        texts = pd.read_parquet(args.prompts)["prompt"].tolist()
        numbers = random.Random(args.seed)
        words = [
            " ".join(
                f"w{numbers.randrange(2, other['make']['shape']['vocab_size'])}"
                for _ in range(other["prompt_words"])
            )
            for _ in texts
        ]
        pairs = [
            (study, load(*args.study, args.settings["max_new_tokens"]), texts, own),
            (larger, load(*args.larger, other["max_new_tokens"]), words, other),
        ]
        job.write_json(
            args.curve,
            time_curve(pairs[0][1], texts[: what["curve"]["prompts"]], what["curve"], args.seed),
        )
        records, done, total = [], 0, len(pairs) * len(what["batches"]) * len(what["lams"])
        for pair, bench, prompts, settings in pairs:
            for batch in what["batches"]:
                held, rows = memory(bench, prompts[:batch], 0.5), prompts[: settings["rows"][batch]]
                options = (settings["repeats"], what["once_above_seconds"], args.seed)
                for found in time_methods(bench, rows, batch, what["lams"], *options):
                    records += [
                        {**each, "pair": pair, "peak_bytes": held[each["method"]]} for each in found
                    ]
                    done += 1
                    progress.update(done, total, "of pair, batch and lam")
        job.write_json(args.output, records)
        made_with = {"device": _device(), "threads": args.threads, "versions": versions()}
        job.write_json(args.provenance, {"settings": what, "seed": args.seed, **made_with})


if __name__ == "__main__":
    main()
