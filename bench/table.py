"""Write the benchmark as a table in Markdown: a row for each way of decoding.

All ratios are to our loop, which decodes one model with this library. For each pair and size of
batches a column has the range over lam of the ratio of times. For each pair a column has the ratio
of peak memory.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.ways import WAYS
from study import job


def table(records: list[dict[str, Any]]) -> str:
    """Return the table of what `bench.decoding` has recorded.

    Times are medians over repeats. Memory is the peak at the smallest batch.
    """
    pairs = list(dict.fromkeys(record["pair"] for record in records))
    batches = list(dict.fromkeys(record["batch"] for record in records))
    columns = [(pair, batch) for pair in pairs for batch in batches]
    head = [f"{pair}, batch {batch}" for pair, batch in columns]
    head += [f"{pair}, memory" for pair in pairs]
    lines = [["", *head], ["---"] * (1 + len(head))]
    for name, way in WAYS.items():
        times = [_range(_ratios(records, name, pair, batch)) for pair, batch in columns]
        memory = [_memory(records, name, pair, batches[0]) for pair in pairs]
        lines.append([way.described, *times, *memory])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ratios(records: list[dict[str, Any]], way: str, pair: str, batch: int) -> list[float]:
    """Return the ratios of a way's times to our loop's, one for each lam."""
    of_way = _records_of(records, way, pair, batch)
    return [record["ratio_to_loop"] for record in of_way]


def _range(ratios: list[float]) -> str:
    low = f"{min(ratios):.2f}"
    high = f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _memory(records: list[dict[str, Any]], way: str, pair: str, batch: int) -> str:
    """Return the ratio of a way's peak memory to our loop's."""
    of_way = _records_of(records, way, pair, batch)[0]
    of_loop = _records_of(records, "loop", pair, batch)[0]
    return f"{of_way['peak_bytes'] / of_loop['peak_bytes']:.2f}"


def _records_of(
    records: list[dict[str, Any]], way: str, pair: str, batch: int
) -> list[dict[str, Any]]:
    """Return the records of one way, pair and batch."""
    key = (way, pair, batch)
    return [
        record for record in records if (record["method"], record["pair"], record["batch"]) == key
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--decoding", type=Path, required=True, help="JSON file of the benchmark's records"
    )
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    args = parser.parse_args()
    with job.atomic_path(args.output) as path:
        path.write_text(table(job.read_json(args.decoding)))


if __name__ == "__main__":
    main()
