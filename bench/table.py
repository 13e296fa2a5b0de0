"""The benchmark as a table in Markdown: a row a method, and at each batch the range over lam of its time beside our loop's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.methods import METHODS
from study import job


def table(records: list[dict[str, Any]]) -> str:
    """Times a token over those of one model in our loop, medians over repeats; at the last, peak memory at the smallest batch."""
    pairs, batches = (
        list(dict.fromkeys(each[name] for each in records)) for name in ("pair", "batch")
    )
    places = [(pair, batch) for pair in pairs for batch in batches]
    heads = [
        "",
        *(f"{pair}, batch {batch}" for pair, batch in places),
        *(f"{pair}, memory" for pair in pairs),
    ]
    lines = [heads, ["---"] * len(heads)]
    for method, name in METHODS.items():
        mine = [each for each in records if each["method"] == method]
        times = [
            _range(
                [each["ratio_to_loop"] for each in mine if (each["pair"], each["batch"]) == place]
            )
            for place in places
        ]
        held = [
            f"{_bytes(records, method, pair, batches[0]) / _bytes(records, 'loop', pair, batches[0]):.2f}"
            for pair in pairs
        ]
        lines.append([name, *times, *held])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _range(ratios: list[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _bytes(records: list[dict[str, Any]], method: str, pair: str, batch: int) -> int:
    return next(
        each["peak_bytes"]
        for each in records
        if (each["method"], each["pair"], each["batch"]) == (method, pair, batch)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--decoding", type=Path, required=True, help="JSON file of the benchmark's records"
    )
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    args = parser.parse_args()
    with job.atomic_path(args.output) as path:
        path.write_text(table(job.read_json(args.decoding)))


if __name__ == "__main__":
    main()
