"""Write the benchmark as two tables in Markdown.

The first has a row for each way of decoding. All ratios are to our loop, which decodes one model
with this library. For each pair and size of batches a column has the range over lam of the ratio of
times. For each pair a column has the ratio of peak memory. The second compares each of our ways to
one model that is decoded likewise, compiled or not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.ways import LIKE, ONE_MODEL, WAYS, ratio_to
from study import job

Records = list[dict[str, Any]]


def table(records: Records) -> str:
    """Return the table of what `bench.decoding` has recorded.

    Times are medians over repeats. Memory is the peak at the smallest batch.
    """
    columns = _columns(records)
    pairs = list(dict.fromkeys(pair for pair, _ in columns))
    lines = [_head(columns) + [f"{pair}, memory" for pair in pairs]]
    for name in _timed(records, list(WAYS)):
        times = [_range(records, name, ONE_MODEL[0], *column) for column in columns]
        memory = [_memory(records, name, pair) for pair in pairs]
        lines.append([WAYS[name].described, *times, *memory])
    return _written(lines)


def table_of_likes(records: Records) -> str:
    """Return the table of our ways, in ratios to one model that is decoded likewise."""
    columns = _columns(records)
    lines = [_head(columns)]
    for name in _timed(records, list(LIKE)):
        ratios = [_range(records, name, LIKE[name], *column) for column in columns]
        lines.append([WAYS[name].described, *ratios])
    return _written(lines)


def _columns(records: Records) -> list[tuple[str, int]]:
    """Return each pair and size of batches, in the order of the records."""
    return list(dict.fromkeys((record["pair"], record["batch"]) for record in records))


def _head(columns: list[tuple[str, int]]) -> list[str]:
    return ["", *[f"{pair}, batch {batch}" for pair, batch in columns]]


def _timed(records: Records, ways: list[str]) -> list[str]:
    """Return those of the ways that were timed."""
    found = {record["method"] for record in records}
    return [way for way in ways if way in found]


def _written(lines: list[list[str]]) -> str:
    head, *others = lines
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *others])


def _range(records: Records, way: str, unit: str, pair: str, batch: int) -> str:
    """Return the range over lam of the ratios of a way's times to a unit's."""
    of_way = _records_of(records, way, pair, batch)
    ratios = [record[ratio_to(unit)] for record in of_way]
    low = f"{min(ratios):.2f}"
    high = f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _memory(records: Records, way: str, pair: str) -> str:
    """Return the ratio of a way's peak memory to our loop's, or a dash if it was not counted."""
    smallest = min(record["batch"] for record in records if record["pair"] == pair)
    of_way = _records_of(records, way, pair, smallest)[0]
    of_loop = _records_of(records, ONE_MODEL[0], pair, smallest)[0]
    if of_way["peak_bytes"] is None:
        return "–"
    return f"{of_way['peak_bytes'] / of_loop['peak_bytes']:.2f}"


def _records_of(records: Records, way: str, pair: str, batch: int) -> Records:
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
    job.add_log_of_command(parser)
    args = parser.parse_args()
    records = job.read_json(args.decoding)
    with job.recorded(args.log), job.atomic_path(args.output) as path:
        path.write_text(f"{table(records)}\n{table_of_likes(records)}")


if __name__ == "__main__":
    main()
