"""Train a reward model on the preference pairs, starting from the reference.

The trainer is TRL's RewardTrainer. The study stops here if the model does not beat chance on
held-out pairs, because alignment to such a model would show nothing. The settings are the config's
section `reward_model`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from datasets import Dataset
from scipy import stats
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase, set_seed
from trl import RewardConfig, RewardTrainer

from dera import chat
from study import job
from tasks.rewards.learned import tokens_of
from training import trainer as shared
from training.settings import OptimiserSettings

#: The probability that a model which is no better than chance passes the test.
CHANCE_LEVEL = 0.01

#: Pairs that are scored at once.
BATCH = 128


@job.settings_class
class RewardModelSettings(OptimiserSettings):
    """How the reward model is trained, and how many pairs are kept to test it on."""

    held_out: int


class RewardModelError(ValueError):
    """A reward model that is of no use, or that has too few pairs; the message says what to do."""


def tokenized(pairs: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Return the pairs as columns `chosen_ids` and `rejected_ids`, each with prompt and end token.

    Prompt and completion are tokenized apart, so that the model reads the very tokens that were
    sampled and judged.
    """
    prompts = chat.for_prompts(tokenizer)(list(pairs["prompt"])).input_ids
    columns = {}
    for side in ("chosen", "rejected"):
        completions = tokenizer(list(pairs[side])).input_ids
        columns[f"{side}_ids"] = [
            tokens_of(tokenizer, prompt, completion, finished=True)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
    return Dataset.from_dict(columns)


def check_accuracy(correct: int, pairs: int, task: str) -> dict[str, float]:
    """Return the accuracy on held-out pairs with its 95% interval (Wilson's).

    Args:
        correct: pairs that the model ranks as the labeller did.
        pairs: all held-out pairs.
        task: name of the task, for the message.

    Raises:
        RewardModelError: if the accuracy does not beat chance, by a one-sided binomial test.
    """
    test = stats.binomtest(correct, pairs, 0.5, alternative="greater")
    needed = int(stats.binom.isf(CHANCE_LEVEL, pairs, 0.5)) + 1
    if test.pvalue >= CHANCE_LEVEL:
        raise RewardModelError(
            f"task {task}: the reward model ranks {correct} of {pairs} held-out pairs as the "
            f"labeller did ({correct / pairs:.1%}); to beat chance it must rank {needed} "
            f"({needed / pairs:.1%}). Give it more pairs (preferences.pairs), more steps "
            "(reward_model.steps), or a sharper labeller (preferences.sharpness)"
        )
    interval = stats.binomtest(correct, pairs).proportion_ci(method="wilson")
    return {
        "accuracy": correct / pairs,
        "low": float(interval.low),
        "high": float(interval.high),
        "pairs": pairs,
    }


@torch.no_grad()
def ranked_correctly(trainer: RewardTrainer, held_out: Dataset) -> int:
    """Count the held-out pairs that the model ranks as the labeller did."""
    correct = 0
    model = trainer.model.eval()
    for start in range(0, len(held_out), BATCH):
        rows = held_out.select(range(start, min(start + BATCH, len(held_out)))).to_list()
        batch = trainer.data_collator(rows)
        inputs = {name: value.to(model.device) for name, value in batch.items()}
        chosen, rejected = model(**inputs).logits[:, 0].chunk(2)
        correct += int((chosen > rejected).sum())
    return correct


def split_off(pairs: Dataset, settings: RewardModelSettings, task: str) -> tuple[Dataset, Dataset]:
    """Return the pairs to train on and the last ones, which are held out.

    Raises:
        RewardModelError: if not even one batch is left to train on.
    """
    kept = len(pairs) - settings.held_out
    if kept < settings.batch_size:
        raise RewardModelError(
            f"task {task}: {len(pairs)} preference pairs leave {kept} to train on after "
            f"reward_model.held_out = {settings.held_out}; raise preferences.pairs"
        )
    return pairs.select(range(kept)), pairs.select(range(kept, len(pairs)))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = shared.parser(__doc__, output="folder for the reward model and its tokenizer")
    parser.add_argument("--task", required=True, help="name of the task, for messages")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--pairs", type=Path, required=True, help="Parquet file of preference pairs"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    settings = job.settings_of(args, RewardModelSettings)
    checkpoints = shared.resume_folder(args.checkpoints, [args.reference, args.pairs])
    with job.running(f"{args.task} reward model", args) as progress:
        # Train on all pairs except those that are held out.
        _, tokenizer = shared.load_model(args.reference)
        pairs = tokenized(Dataset.from_parquet(str(args.pairs)), tokenizer)
        train_pairs, held_out = split_off(pairs, settings, args.task)
        set_seed(args.seed)
        trainer = RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(
                args.reference, num_labels=1, dtype=torch.float32, use_safetensors=True
            ),
            args=RewardConfig(
                **shared.common_arguments(checkpoints, settings, args.seed), max_length=None
            ),
            train_dataset=train_pairs,
            processing_class=tokenizer,
        )
        seconds = shared.train(trainer, checkpoints, args.output, progress)

        # Stop the study if the model does not beat chance on the held-out pairs.
        result = check_accuracy(ranked_correctly(trainer, held_out), len(held_out), args.task)
        ranked = f"{result['accuracy']:.1%} of {result['pairs']} held-out pairs"
        progress.say(f"ranks {ranked} as the labeller did")
        record = {
            "stage": "reward_model",
            "seed": args.seed,
            "seconds": seconds,
            "held_out": result,
            "settings": args.settings,
        }
        shared.save(trainer, args.output, args.checkpoints, record)


if __name__ == "__main__":
    main()
