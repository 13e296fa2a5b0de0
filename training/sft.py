"""Train the reference on the demonstrations, with TRL's SFTTrainer.

The reference starts as a small Llama of random weights, or as a pretrained model. A pretrained
model may also be the reference as it is (`sft: none`).

The study stops here if the reference has not learnt its task: completions sampled for the
validation prompts must reach the values in `sft.minimum`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

from dera import chat
from study import job
from tasks import TaskSettings
from training import learnt, reference
from training import trainer as shared
from training.adapter import LoraSettings, lora_config
from training.reference import ModelSettings, PretrainedSettings
from training.settings import OptimiserSettings
from training.tokenizer import train_tokenizer

#: A shorter memory of gradients than Adam's default. With it small models learn to copy from their
#: prompt in fewer steps.
ADAM_BETA2 = 0.95


@job.settings_class
class SftSettings(OptimiserSettings):
    """The config's section `sft`.

    `minimum` has the smallest accepted mean of each measure. Where there is `lora`, an adapter is
    trained and merged into the reference; otherwise all weights are trained.
    """

    weight_decay: float
    eval_every: int
    minimum: dict[str, float]
    lora: LoraSettings | None = None


@job.settings_class
class ReferenceSettings:
    """Everything that shapes the reference, except its data and its seed."""

    task: TaskSettings
    model: ModelSettings | PretrainedSettings
    sft: SftSettings | Literal["none"]


def starting_model(
    settings: ReferenceSettings, pretrained: Path | None, train: Dataset, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model that SFT starts from, and its tokenizer.

    Args:
        settings: those of the job.
        pretrained: the folder of the pretrained model, where the config names one.
        train: the demonstrations that a new tokenizer is trained on.
        seed: seed of the weights of a new model.
    """
    if pretrained is not None:
        is_trained = settings.sft != "none"
        model, tokenizer = shared.load_model(pretrained, "float32" if is_trained else "auto")
        set_seed(seed)
        return model, tokenizer
    if isinstance(settings.model, PretrainedSettings):
        raise ValueError("model.pretrained: --pretrained must name the folder of the model")
    tokenizer = train_tokenizer(train, settings.model.vocab_size)
    set_seed(seed)
    return reference.new_model(settings.model, tokenizer), tokenizer


def make_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: dict[str, Dataset],
    sft: SftSettings,
    max_positions: int,
    checkpoints: Path,
    seed: int,
) -> SFTTrainer:
    """Return TRL's trainer; `demonstrations` has the splits `train` and `validation`."""
    as_read = {}
    for name, split in demonstrations.items():
        prompts = chat.rendered(tokenizer, split["prompt"])
        as_read[name] = Dataset.from_dict({"prompt": prompts, "completion": split["completion"]})
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            **shared.common_arguments(checkpoints, sft, seed),
            weight_decay=sft.weight_decay,
            adam_beta2=ADAM_BETA2,
            max_length=max_positions,
            eval_strategy="steps",
            eval_steps=sft.eval_every,
            per_device_eval_batch_size=4 * sft.at_once,
        ),
        train_dataset=as_read["train"],
        eval_dataset=as_read["validation"],
        processing_class=tokenizer,
        peft_config=None if sft.lora is None else lora_config(sft.lora, model),
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = shared.parser(__doc__, output="folder for the reference and its tokenizer")
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of demonstrations")
    parser.add_argument(
        "--validation", type=Path, required=True, help="Parquet file of held-out demonstrations"
    )
    parser.add_argument(
        "--pretrained",
        type=Path,
        help="folder of the pretrained model to start from; without it a new model is made",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, ReferenceSettings)
    inputs = [args.train, args.validation]
    if args.pretrained:
        inputs.append(args.pretrained)
    checkpoints = shared.resume_folder(args.checkpoints, inputs)
    with job.running(f"{settings.task.name} sft", args) as progress:
        # The model to start from, and its tokenizer.
        train = Dataset.from_parquet(str(args.train))
        validation = Dataset.from_parquet(str(args.validation))
        model, tokenizer = starting_model(settings, args.pretrained, train, args.seed)
        prompt_ids = chat.for_prompts(tokenizer)(list(train["prompt"])).input_ids
        reference.check_lengths(prompt_ids, settings.model)
        parameters = f"{model.num_parameters():,} parameters"
        progress.say(f"{parameters}, {len(tokenizer)} tokens, {len(train)} documents")
        record = {"stage": "sft", "seed": args.seed, "settings": args.settings}
        if settings.sft == "none":
            shared.save_untrained(model, tokenizer, args.output, record)
            return

        # Training. An adapter is merged, so that the reference is a whole model. The reference is
        # kept in the precision of the pretrained model.
        trainer = make_trainer(
            model,
            tokenizer,
            {"train": train, "validation": validation},
            settings.sft,
            settings.model.max_positions,
            checkpoints,
            args.seed,
        )
        record["seconds"] = shared.train(trainer, checkpoints, args.output, progress)
        if settings.sft.lora is not None:
            trainer.model = trainer.model.merge_and_unload()
        if isinstance(settings.model, PretrainedSettings):
            trainer.model.to(getattr(torch, settings.model.dtype))

        # The study stops here if the task has not been learnt.
        task = settings.task.create()
        prompts = list(validation["prompt"])
        max_new_tokens = settings.model.max_new_tokens
        means = learnt.measure(trainer.model, tokenizer, task, prompts, max_new_tokens)
        shown = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        progress.say(f"on validation prompts: {shown}")
        learnt.check(task.name, means, settings.sft.minimum)
        shared.save(trainer, args.output, args.checkpoints, {**record, "validation": means})


if __name__ == "__main__":
    main()
