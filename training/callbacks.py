"""Trainer callbacks: progress for the person watching, and seconds counted over interruptions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from study.job import Progress

#: The logged numbers that progress shows.
SHOWN = ("loss", "reward", "rewards/margins", "kl")


class ProgressCallback(TrainerCallback):
    """Passes on to the job's progress how many steps are done and what the trainer logged last."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.numbers: dict[str, float] = {}

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = logs or {}
        self.numbers = {name: float(logs[name]) for name in SHOWN if name in logs}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.update(state.global_step, state.max_steps, "steps", **self.numbers)


class SecondsCallback(TrainerCallback):
    """Counts wall-clock seconds of training and writes them into each checkpoint.

    The trainer calls `on_save` when a checkpoint is complete, so the file also marks a checkpoint
    that is safe to resume from.
    """

    FILE = "seconds.json"

    def __init__(self) -> None:
        self.seconds_before = 0.0  # of the runs that were interrupted
        self.started = time.monotonic()

    def total(self) -> float:
        """Return the seconds spent in training so far, those before interruptions included."""
        return self.seconds_before + time.monotonic() - self.started

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step:
            self.seconds_before = json.loads((_checkpoint(args, state) / self.FILE).read_text())
        self.started = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        (_checkpoint(args, state) / self.FILE).write_text(json.dumps(self.total()))


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
