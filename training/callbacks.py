"""Trainer callbacks: progress for the person watching, and seconds spent that survive an interruption."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from study.job import Progress

SHOWN = ("loss", "reward", "rewards/margins", "kl")


class ProgressCallback(TrainerCallback):
    """Passes the trainer's steps and its last logged numbers on to the job's progress."""

    def __init__(self, progress: Progress):
        self.progress, self.numbers = progress, {}

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        self.numbers = {name: float(logs[name]) for name in SHOWN if name in (logs or {})}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.update(state.global_step, state.max_steps, "steps", **self.numbers)


class SecondsCallback(TrainerCallback):
    """Counts wall-clock seconds of training and writes them into each checkpoint.

    The trainer calls `on_save` when a checkpoint is complete, so the file also marks a checkpoint that is safe to resume from.
    """

    FILE = "seconds.json"

    def __init__(self) -> None:
        self.before, self.since = 0.0, time.monotonic()

    def total(self) -> float:
        return self.before + time.monotonic() - self.since

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step:
            self.before = json.loads((_checkpoint(args, state) / self.FILE).read_text())
        self.since = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        (_checkpoint(args, state) / self.FILE).write_text(json.dumps(self.total()))


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
