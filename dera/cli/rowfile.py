"""A file of JSON lines that grows batch by batch, and survives being interrupted.

The file gets its name, say `sweep.jsonl`, when it is complete. Until then the rows are in
`sweep.jsonl.partial`. The settings that the rows come from stand beside it, in
`sweep.jsonl.meta.json`. Only whole batches count as finished. A batch that was cut off is decoded
again with its own seed, so an interruption does not change a byte of the result.

Rows are believed only if they answer the requests: a complete file has one row for each request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dera.cli.output import json_lines, note, write_json
from dera.cli.requested import Request, request_of
from dera.cli.settings import check_settings, check_settings_file


class RowFile:
    """Rows on their way to a file.

    Attributes:
        path: the file that holds the rows once all are finished.
        partial: the file that holds them until then.
        total: how many rows there will be.
        done: how many rows are finished.
        complete: whether all rows are finished.
    """

    def __init__(
        self,
        path: Path,
        settings: dict[str, Any],
        requests: Sequence[Request],
        batch_size: int,
        columns: Sequence[str],
    ):
        """Take up the rows that are there already.

        Args:
            path: the file to be.
            settings: everything that the rows depend on, in values that JSON has.
            requests: what the rows answer, in their order.
            batch_size: how many rows are decoded together.
            columns: what each row has a number or a null for.

        Raises:
            ValueError: if rows are there that come from other settings, or if the complete file
                does not have one row for each request.
        """
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.total = len(requests)
        self.done = 0
        self.complete = path.exists()
        self._places: dict[Request | None, int] = {
            request: place for place, request in enumerate(requests)
        }
        self._columns = columns
        self._requests = requests
        self._settings = settings
        self._settings_file = path.with_name(f"{path.name}.meta.json")
        begun = path if self.complete else self.partial
        if not begun.exists():
            check_settings_file(self._settings_file)
            return
        check_settings(settings, self._settings_file, begun)
        if self.complete:
            self._check_rows(path)
            return
        self.done = self._keep_whole_batches(batch_size)
        if self.done == self.total:  # the file was complete, but had not got its name yet
            self.finish()

    def begin(self) -> None:
        """Write the settings, before the first row."""
        if not self.done:
            write_json(self._settings_file, self._settings)

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a batch, which is on the disk when this returns."""
        with self.partial.open("a", encoding="utf-8") as file:
            file.write(json_lines(rows))
            file.flush()
            os.fsync(file.fileno())
        self.done += len(rows)

    def finish(self) -> None:
        """Give the complete file its name.

        Raises:
            ValueError: if it does not have one row for each request.
        """
        self._check_rows(self.partial)
        os.replace(self.partial, self.path)
        self.complete = True

    def read(self) -> list[dict[str, Any]]:
        """Return all rows of the complete file, in the order of the requests."""
        with self.path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return sorted(rows, key=lambda row: self._places[request_of(row)])

    def _check_rows(self, path: Path) -> None:
        """Check that each request has one row, in any order.

        Raises:
            ValueError: naming the first row too many, or the first request without a row.
        """
        remedy = f"Delete {path} to start over, or name another file with --output"
        missing = dict(self._places)
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                request = self._answered(line)
                if missing.pop(request, None) is None:
                    what = "is not one of this sweep" if request is None else "is there twice"
                    raise ValueError(f"{path}, line {number}: the row {what}. {remedy}")
        if missing:
            first = self._requests[min(missing.values())]
            raise ValueError(
                f"{path} has {self.total - len(missing)} of {self.total} rows: the first that is "
                f"missing has prompt_id {first.prompt_id}, lam {first.lam:g} and sample "
                f"{first.sample}. {remedy}"
            )

    def _keep_whole_batches(self, batch_size: int) -> int:
        """Cut the partial file after its last whole batch, and return how many rows stay.

        The first line that does not answer its request is dropped with all lines after it.
        """
        # Find where each good line ends, in bytes.
        ends = [0]
        with self.partial.open("rb") as file:
            for line, request in zip(file, self._requests, strict=False):
                if not line.endswith(b"\n"):  # writing it was interrupted
                    break
                if self._answered(line) != request:
                    note(
                        f"{self.partial}, line {len(ends)}: this is not the row that belongs here, "
                        "so this row and those after it are decoded again"
                    )
                    break
                ends.append(ends[-1] + len(line))
        rows = len(ends) - 1
        if rows < self.total:
            rows -= rows % batch_size
        os.truncate(self.partial, ends[rows])
        return rows

    def _answered(self, line: bytes) -> Request | None:
        """Return the request that a line answers; None if it is no row, or answers none."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return None
        request = request_of(row)
        if request is None or not all(_is_number_or_null(row, name) for name in self._columns):
            return None
        return request if request in self._places else None


def _is_number_or_null(row: dict[str, Any], name: str) -> bool:
    return name in row and (row[name] is None or isinstance(row[name], (int, float)))
