"""What SFT and every objective share: trainer arguments, resuming, and the record of a finished training."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)

from study import job, provenance
from training.callbacks import ProgressCallback, SecondsCallback


def common_arguments(checkpoints: Path, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Arguments that every TRL config takes, from the stage's own settings.

    On a GPU, training runs in bfloat16; on a CPU in float32. TRL's defaults differ, so both are said.
    """
    on_gpu = job.device() == "cuda"
    return dict(
        output_dir=str(checkpoints),
        seed=seed,
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=settings["schedule"],
        warmup_steps=settings["warmup_steps"],
        logging_steps=settings["log_every"],
        save_steps=settings["save_every"],
        save_total_limit=2,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=False,
        disable_tqdm=True,
        report_to=[],
    )


def load_model(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, padding on the left as decoding needs."""
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    return model, AutoTokenizer.from_pretrained(folder, padding_side="left")


def resume_folder(checkpoints: Path, inputs: list[Path]) -> Path:
    """A folder for this job's checkpoints that no other model or data share: a training must not resume on top of another reference."""
    digest = hashlib.sha256()
    for path in inputs:
        for file in (
            sorted(path.glob("*.safetensors")) + [path / "tokenizer.json"]
            if path.is_dir()
            else [path]
        ):
            digest.update(file.read_bytes())
    return checkpoints / digest.hexdigest()[:12]


@contextmanager
def scoring_completions_only() -> Iterator[None]:
    """Let TRL's language-model heads skip what the loss masks, the prompts, as they do on a GPU: a seventh less time, the same loss.

    Elsewhere they score every position, so that shapes stay the same for devices that compile for each; a CPU does not.
    """
    from trl.trainer import utils as trl_utils  # here, because jobs that train nothing need no TRL

    asked = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl_utils._use_triton = asked


def train(trainer: Trainer, checkpoints: Path, progress: job.Progress) -> float:
    """Train, from the last complete checkpoint if there is one; returns seconds spent, interruptions included."""
    seconds = SecondsCallback()
    trainer.add_callback(seconds)
    trainer.add_callback(ProgressCallback(progress))
    last = last_checkpoint(checkpoints)
    if last is not None:
        progress.say(f"resuming from {last}")
    with scoring_completions_only():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return seconds.total()


def last_checkpoint(checkpoints: Path) -> Path | None:
    """The newest checkpoint that was written to its end, which our own callback's file marks."""
    complete = [path.parent for path in checkpoints.glob("checkpoint-*/" + SecondsCallback.FILE)]
    return max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)


def save(trainer: Trainer, output: Path, checkpoints: Path, record: dict[str, Any]) -> None:
    """Save the model, its tokenizer and `training.json` atomically, then drop the checkpoints."""
    with job.atomic_path(output) as folder:
        trainer.model.save_pretrained(folder)
        trainer.processing_class.save_pretrained(folder)
        record = {**record, "versions": provenance.versions(), "history": trainer.state.log_history}
        (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    shutil.rmtree(checkpoints, ignore_errors=True)
