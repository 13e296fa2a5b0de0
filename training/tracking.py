"""Send what a training logs to the trackers of experiments that the config names."""

from __future__ import annotations

import os
from pathlib import Path

from transformers import Trainer
from transformers.integrations import get_reporting_integration_callbacks

from study.tracking import FOLDER, TRACKERS


def add_trackers(trainer: Trainer, output: Path) -> None:
    """Let a trainer report to the trackers of its environment, if there are any.

    Args:
        trainer: the trainer.
        output: the folder of the model that is trained, which gives the run its name.
    """
    trackers = os.environ.get(TRACKERS, "").split()
    if not trackers:
        return
    folder = Path(os.environ[FOLDER])
    name = run_name(output, folder.parent)
    trainer.args.run_name = name
    trainer.args.project = folder.parent.name  # which trackio shows
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / name)
    for callback in get_reporting_integration_callbacks(trackers):
        trainer.add_callback(callback)


def run_name(output: Path, results: Path) -> str:
    """Return what trackers call a training, such as `length/rloo/beta=0.25/seed=0`."""
    if not output.is_relative_to(results):
        return output.as_posix()
    parts = output.relative_to(results).parts
    return "/".join(part for part in parts if part != "models")
