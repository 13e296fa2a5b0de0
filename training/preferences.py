"""Draw preference pairs: two completions of each training prompt from the reference, labelled by the task's reward.

Labels follow Bradley-Terry with a labeller of the given sharpness, P(first preferred) = sigmoid(sharpness * (r_first - r_second)). Pairs of equal
reward say nothing of the reward and are left out, as are pairs with a completion that did not end in time.

Settings: {"task": ..., "pairs": ..., "sharpness": ..., "max_new_tokens": ..., "batch_size": ...}; `pairs` are drawn, fewer are kept.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import torch
from datasets import Dataset

import tasks
from dera.decoding import sample_completions
from study import job
from training import trainer as shared


def label(rng: random.Random, first: float, second: float, sharpness: float) -> bool:
    """True if the first of two completions with these rewards is preferred, by Bradley-Terry."""
    return rng.random() < 1.0 / (1.0 + math.exp(sharpness * (second - first)))


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet file with a column prompt")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the pairs")
    args = parser.parse_args()
    settings = args.settings
    with job.running("preferences", args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        model.to(job.device())
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"]
        rng = random.Random(f"preferences {args.seed}")
        torch.manual_seed(args.seed)
        chosen_prompts = [prompts[i % len(prompts)] for i in range(settings["pairs"])]
        task, rows = tasks.create(settings["task"]), []
        for start in range(0, len(chosen_prompts), settings["batch_size"]):
            batch = chosen_prompts[start : start + settings["batch_size"]]
            twice = [prompt for prompt in batch for _ in range(2)]
            completions = sample_completions(model, tokenizer, twice, settings["max_new_tokens"])
            ids, finished = completions.token_ids(), completions.finished()
            texts = tokenizer.batch_decode(ids)
            rewards = task.reward(twice, texts, ids)
            again = tokenizer(texts).input_ids  # TRL tokenizes the text anew, so it must come back as the tokens that were judged
            for i in range(0, len(twice), 2):
                usable = all(finished[j] and again[j] == ids[j] for j in (i, i + 1))  # TRL appends an end, sampled or not
                if not usable or rewards[i] == rewards[i + 1]:
                    continue
                first = label(rng, rewards[i], rewards[i + 1], settings["sharpness"])
                better, worse = (i, i + 1) if first else (i + 1, i)
                rows.append(
                    {
                        "prompt": twice[i],
                        "chosen": texts[better],
                        "rejected": texts[worse],
                        "chosen_reward": rewards[better],
                        "rejected_reward": rewards[worse],
                    }
                )
            progress.update(start + len(batch), len(chosen_prompts), "pairs")
        progress.say(f"{len(rows)} of {len(chosen_prompts)} pairs kept: both ended, and their rewards differ")
        if not rows:
            raise ValueError("no pair of completions with different rewards: is the task's range within the reference's reach?")
        with job.atomic_path(args.output) as path:
            Dataset.from_list(rows).to_parquet(path)


if __name__ == "__main__":
    main()
