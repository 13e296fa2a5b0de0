"""What every training shares: its arguments, resuming after an interruption, and its record."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
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
from study.files import broken_file, checksum
from training.callbacks import ProgressCallback, SecondsCallback
from training.settings import OptimiserSettings
from training.tracking import add_trackers

#: Makes the text of a model card from the record of a training.
Card = Callable[[Mapping[str, Any]], str]


def parser(description: str | None, output: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every job has and those that every training has.

    Args:
        description: the job's docstring.
        output: what `--output` is for.
    """
    result = job.parser(description)
    result.add_argument(
        "--checkpoints",
        type=Path,
        required=True,
        help="folder for checkpoints, from which an interrupted training resumes",
    )
    result.add_argument("--output", type=Path, required=True, help=output)
    return result


def common_arguments(checkpoints: Path, settings: OptimiserSettings, seed: int) -> dict[str, Any]:
    """Return the arguments that every TRL config takes.

    Training runs in bfloat16 on a GPU and in float32 on a CPU. TRL's defaults differ, so both are
    set here.
    """
    on_gpu = job.device() == "cuda"
    return dict(
        output_dir=str(checkpoints),
        seed=seed,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.at_once,
        gradient_accumulation_steps=settings.batch_size // settings.at_once,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        logging_steps=settings.log_every,
        save_steps=settings.save_every,
        save_total_limit=2,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=settings.gradient_checkpointing,
        disable_tqdm=True,
        report_to=[],
    )


def load_model(
    folder: Path, dtype: str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, which pads on the left as decoding needs.

    Args:
        folder: a model that was saved with its tokenizer.
        dtype: the precision of the weights. "auto" is the one they are stored in, which is right
            for a model that samples. A model that is trained needs "float32".
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    return model, AutoTokenizer.from_pretrained(folder, padding_side="left")


def resume_folder(checkpoints: Path, inputs: list[Path]) -> Path:
    """Return a folder for the checkpoints of a training from exactly these models and data.

    Its name is a digest of the inputs' contents, so that a training never resumes from checkpoints
    that another reference or other data led to.
    """
    files = []
    for path in inputs:
        if path.is_dir():
            files += [*sorted(path.glob("*.safetensors")), path / "tokenizer.json"]
        else:
            files.append(path)
    return checkpoints / checksum(*files)[:12]


@contextmanager
def scoring_completions_only() -> Iterator[None]:
    """Let TRL's language-model heads skip the prompts, which the loss masks, as they do on a GPU.

    The loss is the same and takes a seventh less time. On other devices TRL scores every position,
    because some of them compile anew for each shape. A CPU does not.
    """
    from trl.trainer import utils as trl_utils  # here, because jobs that train nothing need no TRL

    use_triton = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl_utils._use_triton = use_triton


def train(trainer: Trainer, checkpoints: Path, output: Path, progress: job.Progress) -> float:
    """Train, from the newest whole checkpoint if there is one.

    Args:
        trainer: the trainer.
        checkpoints: the folder of its checkpoints.
        output: the folder of the model that is trained. Nothing is written to it.
        progress: says how far the training is.

    Returns:
        Seconds spent in training, which include those before an interruption.
    """
    seconds = SecondsCallback()
    trainer.add_callback(seconds)
    trainer.add_callback(ProgressCallback(progress))
    add_trackers(trainer, output)
    last = newest_whole_checkpoint(checkpoints, progress)
    if last is not None:
        progress.say(f"resuming from {last}")
    with scoring_completions_only():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return seconds.total()


def newest_whole_checkpoint(checkpoints: Path, progress: job.Progress) -> Path | None:
    """Return the newest checkpoint that can be read, or None; say of a newer one what is broken.

    The file of `SecondsCallback` marks those that were complete when they were written. A disk that
    was full or a machine that lost power may have left one of their files empty all the same.
    """
    complete = [path.parent for path in checkpoints.glob("checkpoint-*/" + SecondsCallback.FILE)]
    for checkpoint in sorted(complete, key=_step, reverse=True):
        broken = broken_file(checkpoint)
        if broken is None:
            return checkpoint
        progress.say(f"{broken} is empty or cut; going back to the checkpoint before it")
    if complete:
        progress.say("no checkpoint is whole; training starts from its beginning")
    return None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def save(
    trainer: Trainer,
    output: Path,
    checkpoints: Path,
    record: dict[str, Any],
    card: Card | None = None,
) -> None:
    """Save the model, its tokenizer and `training.json` atomically, then remove the checkpoints.

    Args:
        trainer: holds the model.
        output: the folder to be.
        checkpoints: the folder that is removed.
        record: what `training.json` is to say, beside the history of the training.
        card: makes the model card from the record; what the library writes is kept without it.
    """
    record = {**record, "history": trainer.state.log_history}
    _save(trainer.model, trainer.processing_class, output, record, card)
    shutil.rmtree(checkpoints, ignore_errors=True)


def save_untrained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    output: Path,
    record: dict[str, Any],
) -> None:
    """Save a model that needs no training, with a `training.json` of no steps."""
    _save(model, tokenizer, output, {**record, "seconds": 0.0, "history": []})


def _save(
    model: Any, tokenizer: Any, output: Path, record: dict[str, Any], card: Card | None = None
) -> None:
    """Save a model, its tokenizer, its record and its card, all or nothing."""
    with job.atomic_path(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if card is not None:
            (folder / "README.md").write_text(card(record), encoding="utf-8")
        record = {**record, "versions": provenance.versions()}
        (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")
