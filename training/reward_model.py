"""Train a reward model on the preference pairs, with TRL's RewardTrainer, starting from the reference.

The study stops here if the model does not beat chance on pairs held out: nothing could be concluded from aligning to it.

Settings: the config's `reward_model` section.
"""

from __future__ import annotations

from pathlib import Path

import torch
from datasets import Dataset
from scipy import stats
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase, set_seed
from trl import RewardConfig, RewardTrainer

from study import job
from tasks.rewards.learned import tokens_of
from training import trainer as shared

CHANCE_LEVEL = 0.01  # a model no better than chance passes this often


class RewardModelError(ValueError):
    """A reward model from which nothing could be learned; the message names the accuracy and what it had to reach."""


def tokenized(pairs: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Columns `chosen_ids` and `rejected_ids`: the very tokens that were sampled and judged, not a text tokenized anew."""
    prompts = tokenizer(list(pairs["prompt"])).input_ids
    sides = {side: tokenizer(list(pairs[side])).input_ids for side in ("chosen", "rejected")}
    return Dataset.from_dict(
        {
            f"{side}_ids": [
                tokens_of(tokenizer, prompt, ids, True)
                for prompt, ids in zip(prompts, found, strict=True)
            ]
            for side, found in sides.items()
        }
    )


def check_accuracy(correct: int, of: int, task: str) -> dict[str, float]:
    """The accuracy on `of` held-out pairs with its 95% interval.

    Raises:
        RewardModelError: if it does not beat chance, by a one-sided binomial test.
    """
    test = stats.binomtest(correct, of, 0.5, alternative="greater")
    needed = int(stats.binom.isf(CHANCE_LEVEL, of, 0.5)) + 1
    if test.pvalue >= CHANCE_LEVEL:
        raise RewardModelError(
            f"task {task}: the reward model ranks {correct} of {of} held-out pairs as the labeller did ({correct / of:.1%}); to beat chance it "
            f"must rank {needed} ({needed / of:.1%}). Give it more pairs (preferences.pairs) or steps (reward_model.steps), or a "
            "labeller with more sharpness"
        )
    interval = stats.binomtest(correct, of).proportion_ci(method="wilson")
    return {
        "accuracy": correct / of,
        "low": float(interval.low),
        "high": float(interval.high),
        "pairs": of,
    }


@torch.no_grad()
def ranked_correctly(trainer: RewardTrainer, held_out: Dataset) -> int:
    """How many of the held-out pairs the model ranks as the labeller did."""
    correct = 0
    model = trainer.model.eval()
    for start in range(0, len(held_out), 128):
        batch = held_out.select(range(start, min(start + 128, len(held_out)))).to_list()
        inputs = {
            name: value.to(model.device) for name, value in trainer.data_collator(batch).items()
        }
        chosen, rejected = model(**inputs).logits[:, 0].chunk(2)
        correct += int((chosen > rejected).sum())
    return correct


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--task", required=True, help="name of the task, for messages")
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--pairs", type=Path, required=True, help="Parquet file of preference pairs"
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        required=True,
        help="folder to resume from after an interruption",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the reward model and its tokenizer"
    )
    args = parser.parse_args()
    settings = args.settings
    checkpoints = shared.resume_folder(args.checkpoints, [args.reference, args.pairs])
    with job.running(f"{args.task} reward model", args) as progress:
        _, tokenizer = shared.load_model(args.reference)
        pairs = tokenized(Dataset.from_parquet(str(args.pairs)), tokenizer)
        kept = len(pairs) - settings["held_out"]
        if kept < settings["batch_size"]:
            raise RewardModelError(
                f"task {args.task}: {len(pairs)} preference pairs leave {kept} to train on after reward_model.held_out = "
                f"{settings['held_out']}; raise preferences.pairs"
            )
        set_seed(args.seed)
        trainer = RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(
                args.reference, num_labels=1, use_safetensors=True
            ),
            args=RewardConfig(
                **shared.common_arguments(checkpoints, settings, args.seed), max_length=None
            ),
            train_dataset=pairs.select(range(kept)),
            processing_class=tokenizer,
        )
        seconds = shared.train(trainer, checkpoints, progress)
        held_out = pairs.select(range(kept, len(pairs)))
        found = check_accuracy(ranked_correctly(trainer, held_out), len(held_out), args.task)
        progress.say(
            f"ranks {found['accuracy']:.1%} of {found['pairs']} held-out pairs as the labeller did"
        )
        record = {
            "stage": "reward_model",
            "seed": args.seed,
            "seconds": seconds,
            "held_out": found,
            "settings": settings,
        }
        shared.save(trainer, args.output, args.checkpoints, record)


if __name__ == "__main__":
    main()
