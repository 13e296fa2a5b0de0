"""Put the records of all runs of `bench.decoding` together, and say where they come from.

Records of different machines or libraries are refused, because a table shows them side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study import job

#: What must be the same in all runs.
SAME = ("settings", "seed", "device", "threads", "versions")


def gather(files: Sequence[Path]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records of all files, and their common provenance.

    Raises:
        ValueError: naming two files that were not made on one machine with one set of libraries.
    """
    records: list[dict[str, Any]] = []
    provenances = []
    for file in files:
        found = job.read_json(file)
        records += found["records"]
        provenances.append(found["provenance"])
    first, *others = provenances
    for file, provenance in zip(files[1:], others, strict=True):
        differing = [name for name in SAME if provenance[name] != first[name]]
        if differing:
            raise ValueError(
                f"{file} and {files[0]} differ in {', '.join(differing)}: delete the one that is "
                "older, and run the command again"
            )
    common = {name: first[name] for name in SAME}
    sources = [provenance["source"] for provenance in provenances]
    common["sources"] = [source for i, source in enumerate(sources) if source not in sources[:i]]
    return records, common


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pieces", type=Path, nargs="+", required=True, help="JSON files of `bench.decoding`"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for all records")
    parser.add_argument(
        "--provenance",
        type=Path,
        required=True,
        help="JSON file for what was timed, where and with what",
    )
    job.add_log_of_command(parser)
    args = parser.parse_args()
    with job.recorded(args.log):
        records, provenance = gather(args.pieces)
        job.write_json(args.output, records)
        job.write_json(args.provenance, provenance)


if __name__ == "__main__":
    main()
