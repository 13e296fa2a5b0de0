"""A file of JSON lines that grows batch by batch, survives interruption, and appears under its name when complete.

Beside `sweep.jsonl` stand `sweep.jsonl.meta.json`, the settings its rows come from, and, until it is complete,
`sweep.jsonl.partial`. Only whole batches count as finished: what a stop cut off is decoded again, with the batch's own seed, so that
the result is the same to the byte as without the stop.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dera.cli.output import json_lines, write_json


class RowFile:
    """Rows under way to `path`.

    Attributes:
        path: where they are when complete.
        partial: where they are until then.
        done: how many are finished.
        complete: whether all are.
    """

    def __init__(self, path: Path, settings: dict[str, Any], total: int, batch_size: int):
        """Take up what is there.

        Raises:
            ValueError: if what is there comes from other settings.
        """
        self.path, self.partial = path, path.with_name(f"{path.name}.partial")
        self._meta = path.with_name(f"{path.name}.meta.json")
        self.total, self.done = total, 0
        self.complete = path.exists()
        begun = next((file for file in (path, self.partial) if file.exists()), None)
        if begun is None:
            write_json(self._meta, settings)
            return
        self._check(settings, begun)
        if not self.complete:
            self.done = self._keep_whole_batches(batch_size)
            if self.done == total:  # it was stopped before it could get its name
                self.finish()

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a batch; it is on the disk when this returns."""
        with self.partial.open("a", encoding="utf-8") as file:
            file.write(json_lines(rows))
            file.flush()
            os.fsync(file.fileno())
        self.done += len(rows)

    def finish(self) -> None:
        """Give the complete file its name."""
        os.replace(self.partial, self.path)
        self.complete = True

    def read(self) -> list[dict[str, Any]]:
        """All rows of the complete file."""
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def _check(self, settings: dict[str, Any], begun: Path) -> None:
        remedy = f"delete {begun} to start over, or name another file with --output"
        try:
            before = json.loads(self._meta.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ValueError(
                f"{begun} exists, but its settings cannot be read from {self._meta}: {remedy}"
            ) from None
        after = json.loads(json.dumps(settings))  # as it would have been read: tuples are lists
        differing = [
            f"{name} was {before.get(name)} and is now {after.get(name)}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
        if differing:
            raise ValueError(
                f"{begun} was made with other settings: {'; '.join(differing)}. Use those again, {remedy}"
            )

    def _keep_whole_batches(self, batch_size: int) -> int:
        """Cut the file after its last whole batch; returns the rows that stay."""
        ends = [0]
        with self.partial.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or not _is_json(line):
                    break
                ends.append(ends[-1] + len(line))
        rows = min(len(ends) - 1, self.total)
        if rows < self.total:
            rows -= rows % batch_size
        os.truncate(self.partial, ends[rows])
        return rows


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
