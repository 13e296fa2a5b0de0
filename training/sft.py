"""Train the reference: a small Llama from scratch on the demonstrations, with TRL's SFTTrainer.

The study stops here if the reference has not learnt its task: sampled completions of validation prompts must reach `sft.least`.

Settings: {"task": {"name", "settings"}, "model": ..., "sft": ...}, the last two the config's sections of these names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

import tasks
from dera.decoding import sample_completions
from study import job
from training import trainer as shared
from training.tokenizer import train_tokenizer

BATCH = 128
ADAM_BETA2 = 0.95  # a shorter memory of gradients than the default: small models learn to copy from their prompt in fewer steps


class NotLearntError(ValueError):
    """A reference that has not learnt its task; the message names the measure, its value and the threshold."""


def new_model(settings: dict, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A randomly initialised Llama of the size the config's `model` section names."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings["hidden_size"],
            intermediate_size=settings["intermediate_size"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            max_position_embeddings=settings["max_positions"],
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def check_lengths(
    demonstrations: Dataset, tokenizer: PreTrainedTokenizerBase, settings: dict
) -> None:
    """Raise ValueError if a prompt leaves no room for a completion: it would be cut in training and misread in decoding."""
    longest = max(len(ids) for ids in tokenizer(list(demonstrations["prompt"])).input_ids)
    if longest + settings["max_new_tokens"] > settings["max_positions"]:
        raise ValueError(
            f"model.max_positions = {settings['max_positions']}: the longest prompt has {longest} tokens and "
            f"model.max_new_tokens = {settings['max_new_tokens']}, so at least {longest + settings['max_new_tokens']} are needed"
        )


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: tasks.Task,
    prompts: list[str],
    room: int,
) -> dict[str, float]:
    """Mean of every measure the task has, and the share of completions that ended, over one sampled completion a prompt."""
    found: dict[str, list[float]] = {}
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        completions = sample_completions(model.eval(), tokenizer, batch, room)
        ids = completions.token_ids()
        measures = tasks.judge(task, batch, tokenizer.batch_decode(ids), ids)
        for name, values in {**measures, "finished": completions.finished()}.items():
            found.setdefault(name, []).extend(map(float, values))
    return {
        name: float(np.nanmean(values))
        for name, values in found.items()
        if not np.isnan(values).all()
    }


def check_learnt(task: str, learnt: dict[str, float], least: dict[str, float]) -> None:
    """Raise NotLearntError if a measure is below what the config asks for."""
    for name, threshold in least.items():
        if name not in learnt:
            raise NotLearntError(
                f"task {task}: sft.least.{name}: the task has no such measure; it has {', '.join(sorted(learnt))}"
            )
        if learnt[name] < threshold:
            raise NotLearntError(
                f"task {task}: the reference has not learnt its task: {name} is {learnt[name]:.3f} on validation prompts, and "
                f"sft.least.{name} = {threshold:g}. Train it longer (sft.steps), or make the model larger"
            )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of demonstrations")
    parser.add_argument(
        "--validation", type=Path, required=True, help="Parquet file of held-out demonstrations"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        required=True,
        help="folder to resume from after an interruption",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the reference and its tokenizer"
    )
    args = parser.parse_args()
    settings = args.settings["sft"]
    checkpoints = shared.resume_folder(args.checkpoints, [args.train, args.validation])
    with job.running(f"{args.settings['task']['name']} sft", args) as progress:
        demonstrations = Dataset.from_parquet(str(args.train))
        validation = Dataset.from_parquet(str(args.validation))
        tokenizer = train_tokenizer(demonstrations, args.settings["model"]["vocab_size"])
        check_lengths(demonstrations, tokenizer, args.settings["model"])
        set_seed(args.seed)
        model = new_model(args.settings["model"], tokenizer)
        progress.say(
            f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(demonstrations)} documents"
        )
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **shared.common_arguments(checkpoints, settings, args.seed),
                weight_decay=settings["weight_decay"],
                adam_beta2=ADAM_BETA2,
                max_length=args.settings["model"]["max_positions"],
                eval_strategy="steps",
                eval_steps=settings["eval_every"],
                per_device_eval_batch_size=4 * settings["batch_size"],
            ),
            train_dataset=demonstrations,
            eval_dataset=validation,
            processing_class=tokenizer,
        )
        seconds = shared.train(trainer, checkpoints, progress)
        task = tasks.create(**args.settings["task"])
        learnt = measure(
            trainer.model,
            tokenizer,
            task,
            list(validation["prompt"]),
            args.settings["model"]["max_new_tokens"],
        )
        progress.say(
            "on validation prompts: "
            + ", ".join(f"{name} {value:.3g}" for name, value in learnt.items())
        )
        check_learnt(task.name, learnt, settings["least"])
        record = {
            "stage": "sft",
            "seed": args.seed,
            "seconds": seconds,
            "validation": learnt,
            "settings": args.settings,
        }
        shared.save(trainer, args.output, args.checkpoints, record)


if __name__ == "__main__":
    main()
