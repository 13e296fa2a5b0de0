"""Draw preference pairs: two completions of each training prompt from the reference, labelled by the study's labeller (`tasks.rewards.labeller`).

Pairs that the labeller is indifferent to say nothing and are left out, as are pairs with a completion that did not end in time.

Settings: {"task": {"name", "settings"}, "preferences": the config's section, "max_new_tokens": ...}; `pairs` are drawn, fewer are kept.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from datasets import Dataset

import tasks
from dera.decoding import sample_completions
from study import job
from tasks.rewards import labeller
from training import trainer as shared


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet file with a column prompt")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the pairs")
    args = parser.parse_args()
    settings = args.settings["preferences"]
    with job.running(f"{args.settings['task']['name']} preferences", args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        model.to(job.device())
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"]
        rng = random.Random(f"preferences {args.seed}")
        torch.manual_seed(args.seed)
        chosen_prompts = [prompts[i % len(prompts)] for i in range(settings["pairs"])]
        task, rows = tasks.create(**args.settings["task"]), []
        for start in range(0, len(chosen_prompts), settings["batch_size"]):
            batch = chosen_prompts[start : start + settings["batch_size"]]
            twice = [prompt for prompt in batch for _ in range(2)]
            completions = sample_completions(model, tokenizer, twice, args.settings["max_new_tokens"])
            ids, finished = completions.token_ids(), completions.finished()
            texts = tokenizer.batch_decode(ids)
            gold = tasks.judge(task, twice, texts, ids)["gold"]
            worth = labeller.utilities(gold, ids, settings)
            again = tokenizer(texts).input_ids  # TRL tokenizes the text anew, so it must come back as the tokens that were judged
            for i in range(0, len(twice), 2):
                usable = all(finished[j] and again[j] == ids[j] for j in (i, i + 1))  # TRL appends an end, sampled or not
                if not usable or worth[i] == worth[i + 1]:
                    continue
                first = labeller.prefers_first(rng, worth[i], worth[i + 1])
                better, worse = (i, i + 1) if first else (i + 1, i)
                rows.append(
                    {
                        "prompt": twice[i],
                        "chosen": texts[better],
                        "rejected": texts[worse],
                        "chosen_gold": gold[better],
                        "rejected_gold": gold[worse],
                    }
                )
            progress.update(start + len(batch), len(chosen_prompts), "pairs")
        progress.say(f"{len(rows)} of {len(chosen_prompts)} pairs kept: both ended, and the labeller is not indifferent")
        if not rows:
            raise ValueError(
                f"task {task.name}: no pair that the labeller is not indifferent to: do the reference's completions differ in gold?"
            )
        with job.atomic_path(args.output) as path:
            Dataset.from_list(rows).to_parquet(path)


if __name__ == "__main__":
    main()
