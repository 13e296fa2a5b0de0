"""Write as a table in Markdown what it costs to hold a pair in less memory.

Memory and time are ratios to two whole models in 32 bits. The KL is the one from their mixture, in
nats a completion, at each lam.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench.ways import HOLDINGS, ROUNDING, WHOLE, batches_of
from study import job


def table(records: list[dict[str, Any]]) -> str:
    """Return the table of what `bench.memory` has recorded."""
    lams = list(dict.fromkeys(record["lam"] for record in records))
    batches = batches_of(records[0])
    head = ["", "memory"]
    head += [f"time, batch {batch}" for batch in batches]
    head += [f"KL at lam = {lam:g}" for lam in lams]
    lines = [head, ["---"] * len(head)]
    for name, way in HOLDINGS.items():
        of_way = [record for record in records if record["way"] == name]
        if not of_way:
            continue  # the model could not be held in this way
        line = [way.described, f"{_memory(records, of_way[0]):.2f}"]
        line += [f"{of_way[0][f'batch {batch}']:.2f}" for batch in batches]
        line += [_written(record) for record in of_way]
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _memory(records: list[dict[str, Any]], record: dict[str, Any]) -> float:
    whole = next(record for record in records if record["way"] == WHOLE)
    return record["peak_bytes"] / whole["peak_bytes"]


def _written(record: dict[str, Any]) -> str:
    """Return a KL with half of its interval."""
    if record["kl"] < ROUNDING:
        return f"< {ROUNDING:g}"
    half = (record["kl_high"] - record["kl_low"]) / 2
    digits = 3 if record["kl"] < 0.1 else 2
    return f"{record['kl']:.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=Path, required=True, help="JSON file of the records")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    job.add_log_of_command(parser)
    args = parser.parse_args()
    with job.recorded(args.log), job.atomic_path(args.output) as path:
        path.write_text(table(job.read_json(args.memory)))


if __name__ == "__main__":
    main()
