"""Train the reference: a small Llama from scratch on the demonstrations, with TRL's SFTTrainer.

The study stops here if the reference has not learnt its task: completions sampled for the
validation prompts must reach the values in `sft.minimum`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from datasets import Dataset
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from study import job
from tasks import TaskSettings
from training import learnt
from training import trainer as shared
from training.settings import OptimiserSettings
from training.tokenizer import train_tokenizer

#: A shorter memory of gradients than Adam's default. With it small models learn to copy from their
#: prompt in fewer steps.
ADAM_BETA2 = 0.95


@job.settings_class
class ModelSettings:
    """The config's section `model`: the model trained from scratch, and its tokenizer."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    max_positions: int
    max_new_tokens: int


@job.settings_class
class SftSettings(OptimiserSettings):
    """The config's section `sft`; `minimum` has the smallest accepted mean of each measure."""

    weight_decay: float
    eval_every: int
    minimum: dict[str, float]


@job.settings_class
class ReferenceSettings:
    """Everything that shapes the reference, except its data and its seed."""

    task: TaskSettings
    model: ModelSettings
    sft: SftSettings


def new_model(settings: ModelSettings, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Return a Llama of the asked size with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            intermediate_size=settings.intermediate_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.max_positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def check_lengths(
    demonstrations: Dataset, tokenizer: PreTrainedTokenizerBase, settings: ModelSettings
) -> None:
    """Check that the longest prompt and a completion fit into the model's positions together.

    Otherwise the prompt would be cut in training and misread in decoding.

    Raises:
        ValueError: if they do not fit.
    """
    prompt_ids = tokenizer(list(demonstrations["prompt"])).input_ids
    longest = max(map(len, prompt_ids))
    needed = longest + settings.max_new_tokens
    if needed > settings.max_positions:
        raise ValueError(
            f"model.max_positions = {settings.max_positions}: the longest prompt has {longest} "
            f"tokens and model.max_new_tokens = {settings.max_new_tokens}, so model.max_positions "
            f"must be at least {needed}"
        )


def make_trainer(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: dict[str, Dataset],
    settings: ReferenceSettings,
    checkpoints: Path,
    seed: int,
) -> SFTTrainer:
    """Return TRL's trainer; `demonstrations` has the splits `train` and `validation`."""
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            **shared.common_arguments(checkpoints, settings.sft, seed),
            weight_decay=settings.sft.weight_decay,
            adam_beta2=ADAM_BETA2,
            max_length=settings.model.max_positions,
            eval_strategy="steps",
            eval_steps=settings.sft.eval_every,
            per_device_eval_batch_size=4 * settings.sft.batch_size,
        ),
        train_dataset=demonstrations["train"],
        eval_dataset=demonstrations["validation"],
        processing_class=tokenizer,
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = shared.parser(__doc__, output="folder for the reference and its tokenizer")
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of demonstrations")
    parser.add_argument(
        "--validation", type=Path, required=True, help="Parquet file of held-out demonstrations"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, ReferenceSettings)
    checkpoints = shared.resume_folder(args.checkpoints, [args.train, args.validation])
    with job.running(f"{settings.task.name} sft", args) as progress:
        # The tokenizer and a model of random weights.
        train = Dataset.from_parquet(str(args.train))
        validation = Dataset.from_parquet(str(args.validation))
        tokenizer = train_tokenizer(train, settings.model.vocab_size)
        check_lengths(train, tokenizer, settings.model)
        set_seed(args.seed)
        model = new_model(settings.model, tokenizer)
        parameters = f"{model.num_parameters():,} parameters"
        progress.say(f"{parameters}, {len(tokenizer)} tokens, {len(train)} documents")

        # Training.
        demonstrations = {"train": train, "validation": validation}
        trainer = make_trainer(model, tokenizer, demonstrations, settings, checkpoints, args.seed)
        seconds = shared.train(trainer, checkpoints, progress)

        # The study stops here if the task has not been learnt.
        task = settings.task.create()
        prompts = list(validation["prompt"])
        max_new_tokens = settings.model.max_new_tokens
        means = learnt.measure(trainer.model, tokenizer, task, prompts, max_new_tokens)
        shown = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        progress.say(f"on validation prompts: {shown}")
        learnt.check(task.name, means, settings.sft.minimum)

        record = {
            "stage": "sft",
            "seed": args.seed,
            "seconds": seconds,
            "validation": means,
            "settings": args.settings,
        }
        shared.save(trainer, args.output, args.checkpoints, record)


if __name__ == "__main__":
    main()
