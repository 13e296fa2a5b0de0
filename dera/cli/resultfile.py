"""The result of `dera tune` or `dera diagnose`, which survives being interrupted on its way.

Until `FILE.json` is complete, each batch of completions is kept in `FILE.json.partial`, with the
state of the random numbers after it. The same command goes on from there and gives the same file.
The settings stand in `FILE.json.meta.json`. Once the result is complete, its checksum and what the
command showed stand there too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dera.cli.output import json_text, note, write_atomically, write_json
from dera.cli.settings import changes_of, check_settings, check_settings_file, read_settings

if TYPE_CHECKING:
    from dera.curve.sampling import Batch


#: Settings that decide how completions are judged, and not which completions are decoded.
_JUDGEMENT = ("metric", "max_kl", "aligned_beta")


class ResultFile:
    """A result on its way to a file. It is a `BatchRecord` of the completions behind the result.

    Attributes:
        path: the file to be.
        partial: the file that holds batches until then.
        shown: what the command printed (`text`) and noted (`notes`) when it made the complete
            result; None if the result is not complete.
    """

    def __init__(self, path: Path, settings: dict[str, Any]):
        """Take up what is there already.

        Args:
            path: the file to be. A result of other settings is replaced once this one is complete.
            settings: everything that the result depends on, in values that JSON has.

        Raises:
            ValueError: if batches are there that were decoded with other settings, or if the
                result of these settings was changed since it was written.
        """
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.shown: dict[str, Any] | None = None
        self._settings = settings
        self._settings_file = path.with_name(f"{path.name}.meta.json")
        self._kept: list[dict[str, Any]] = []
        self._recalled = 0
        if self.partial.exists():
            check_settings(settings, self._settings_file, self.partial, _JUDGEMENT)
            self._read_batches()
        else:
            check_settings_file(self._settings_file)
            self._find_complete()

    def begin(self) -> None:
        """Write the settings, before the first batch."""
        if self._kept:
            note(f"going on with {self.partial}: {len(self._kept)} batches are there")
        write_json(self._settings_file, self._settings)

    def recall(self, sampled_lams: Sequence[float], start: int) -> Batch | None:
        """Return the next batch that was kept before; None after the last.

        Raises:
            ValueError: if another batch is there.
        """
        if self._recalled == len(self._kept):
            return None
        batch = self._kept[self._recalled]
        if (batch["lams"], batch["start"]) != (list(sampled_lams), start):
            raise ValueError(
                f"{self.partial}, line {self._recalled + 1}: the batch is not the one that belongs "
                f"here. Delete {self.partial} to start over, or name another file with --output"
            )
        self._recalled += 1
        return _decoded(batch)

    def keep(self, sampled_lams: Sequence[float], start: int, batch: Batch) -> None:
        """Add a batch, which is on the disk when this returns."""
        line = json.dumps({"lams": list(sampled_lams), "start": start, **_encoded(batch)})
        with self.partial.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self, result: Any, text: str, notes: Sequence[str]) -> None:
        """Write the result, and what was shown with it."""
        content = json_text(result)
        write_atomically(self.path, content)
        complete = {"checksum": _checksum(content.encode()), "text": text, "notes": list(notes)}
        write_json(self._settings_file, {**self._settings, "complete": complete})
        self.partial.unlink(missing_ok=True)

    def _find_complete(self) -> None:
        """Set `shown` if the result of these settings is there."""
        before = read_settings(self._settings_file)
        if before is None or not self.path.exists():
            return
        complete = before.pop("complete", None)
        if complete is None or changes_of(before, self._settings):
            return
        if complete["checksum"] != _checksum(self.path.read_bytes()):
            raise ValueError(
                f"{self.path} was changed since this command wrote it: delete it to start over, or "
                "name another file with --output"
            )
        self.shown = complete

    def _read_batches(self) -> None:
        """Read the whole lines of the partial file, and cut off what follows them."""
        end = 0
        with self.partial.open("rb") as file:
            for line in file:
                batch = _read_batch(line)
                if batch is None:
                    break
                self._kept.append(batch)
                end += len(line)
        os.truncate(self.partial, end)


def _encoded(batch: Batch) -> dict[str, Any]:
    """Return a batch in values that JSON has. Numbers keep every bit."""
    scores = np.ascontiguousarray(batch.scores.numpy(), dtype="<f8")
    return {
        "token_ids": batch.token_ids,
        "lengths": batch.lengths,
        "scores": base64.b64encode(scores.tobytes()).decode(),
        "generator": base64.b64encode(batch.generator.numpy().tobytes()).decode(),
    }


def _decoded(batch: dict[str, Any]) -> Batch:
    """Return the batch that `_encoded` made these values of."""
    import torch

    from dera.curve.sampling import Batch

    scores = np.frombuffer(base64.b64decode(batch["scores"]), dtype="<f8")
    generator = np.frombuffer(base64.b64decode(batch["generator"]), dtype=np.uint8)
    return Batch(
        batch["token_ids"],
        batch["lengths"],
        torch.from_numpy(scores.reshape(-1, len(batch["lengths"])).copy()),
        torch.from_numpy(generator.copy()),
    )


def _read_batch(line: bytes) -> dict[str, Any] | None:
    """Return the batch on a line; None if the line was cut off, or is something else."""
    names = {"lams", "start", "token_ids", "lengths", "scores", "generator"}
    try:
        batch = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_batch = line.endswith(b"\n") and isinstance(batch, dict) and set(batch) == names
    return batch if is_batch else None


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
