"""A file of JSON lines that grows batch by batch, and survives being interrupted.

The file gets its name, say `sweep.jsonl`, when it is complete. Until then the rows are in
`sweep.jsonl.partial`. The settings that the rows come from stand beside it, in
`sweep.jsonl.meta.json`. Only whole batches count as finished. A batch that was cut off is decoded
again with its own seed, so an interruption does not change a byte of the result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dera.cli.output import json_lines, write_json


class RowFile:
    """Rows on their way to a file.

    Attributes:
        path: the file that holds the rows once all are finished.
        partial: the file that holds them until then.
        total: how many rows there will be.
        done: how many rows are finished.
        complete: whether all rows are finished.
    """

    def __init__(self, path: Path, settings: dict[str, Any], total: int, batch_size: int):
        """Take up the rows that are there already.

        Args:
            path: the file to be.
            settings: everything that the rows depend on.
            total: how many rows there will be.
            batch_size: how many rows are decoded together.

        Raises:
            ValueError: if rows are there that come from other settings.
        """
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.total = total
        self.done = 0
        self.complete = path.exists()
        self._settings_file = path.with_name(f"{path.name}.meta.json")
        begun = path if self.complete else self.partial
        if not begun.exists():
            write_json(self._settings_file, settings)
            return
        self._check_settings(settings, begun)
        if not self.complete:
            self.done = self._keep_whole_batches(batch_size)
            if self.done == total:  # the file was complete, but had not got its name yet
                self.finish()

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a batch, which is on the disk when this returns."""
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
        """Return all rows of the complete file."""
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def _check_settings(self, settings: dict[str, Any], begun: Path) -> None:
        remedy = f"delete {begun} to start over, or name another file with --output"
        try:
            before = json.loads(self._settings_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ValueError(
                f"{begun} exists, but its settings cannot be read from {self._settings_file}: "
                f"{remedy}"
            ) from None
        after = json.loads(json.dumps(settings))  # tuples become lists, as in what was read
        changes = [
            f"{name} was {before.get(name)} and is now {after.get(name)}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
        if changes:
            raise ValueError(
                f"{begun} was made with other settings: {'; '.join(changes)}. "
                f"Use those again, {remedy}"
            )

    def _keep_whole_batches(self, batch_size: int) -> int:
        """Cut the partial file after its last whole batch, and return how many rows stay."""
        # Find where each good line ends, in bytes. A bad line and all lines after it are dropped.
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
