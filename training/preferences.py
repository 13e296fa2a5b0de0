"""Preference pairs of the training prompts, from one of two sources.

`reference`: two completions of a prompt are sampled from the reference and labelled by the study's labeller (`tasks.rewards.labeller`).
Pairs that the labeller is indifferent to say nothing and are left out, as are pairs with a completion that did not end in time.

`task`: the task writes both completions itself, and which is better is exact. They are no choice between the reference's own completions, so
they can teach a reward model, and not DPO.

Settings: {"task": {"name", "settings"}, "preferences": the config's section, "max_new_tokens": ...}; `pairs` are drawn, fewer are kept.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

import tasks
from dera.decoding import sample_completions
from study import job
from tasks.rewards import labeller
from training import trainer as shared

Rows = list[dict[str, Any]]


def written(task: Any, prompts: list[str], tokenizer: Any, rng: random.Random) -> Rows:
    """A pair a prompt, as the task writes them."""
    rows = []
    for prompt in prompts:
        pair = task.pair(prompt, rng)
        chosen, rejected = tasks.judge(task, [prompt] * 2, pair, tokenizer(list(pair)).input_ids)[
            "gold"
        ]
        if chosen <= rejected:
            raise tasks.TaskError(
                f"task {task.name}: of the pair {pair} the second is no worse: gold {chosen} and {rejected}"
            )
        rows.append(_row(prompt, pair, (chosen, rejected)))
    return rows


def sampled(
    task: Any,
    prompts: list[str],
    model: Any,
    tokenizer: Any,
    rng: random.Random,
    settings: dict[str, Any],
) -> Rows:
    """At most a pair a prompt, sampled from the model and labelled."""
    twice = [prompt for prompt in prompts for _ in range(2)]
    completions = sample_completions(model, tokenizer, twice, settings["max_new_tokens"])
    ids, finished = completions.token_ids(), completions.finished()
    texts = tokenizer.batch_decode(ids)
    gold = tasks.judge(task, twice, texts, ids)["gold"]
    worth = labeller.utilities(gold, ids, settings["preferences"])
    again = tokenizer(
        texts
    ).input_ids  # TRL tokenizes the text anew, so it must come back as the tokens that were judged
    rows = []
    for i in range(0, len(twice), 2):
        usable = all(
            finished[j] and again[j] == ids[j] for j in (i, i + 1)
        )  # TRL appends an end, sampled or not
        if not usable or worth[i] == worth[i + 1]:
            continue
        first = labeller.prefers_first(rng, worth[i], worth[i + 1])
        better, worse = (i, i + 1) if first else (i + 1, i)
        rows.append(_row(twice[i], (texts[better], texts[worse]), (gold[better], gold[worse])))
    return rows


def _row(prompt: str, pair: tuple[str, str], gold: tuple[float, float]) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "chosen": pair[0],
        "rejected": pair[1],
        "chosen_gold": gold[0],
        "rejected_gold": gold[1],
    }


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the pairs")
    args = parser.parse_args()
    settings = args.settings["preferences"]
    by_task = settings.get("source") == "task"
    with job.running(f"{args.settings['task']['name']} preferences", args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        model.to(job.device())
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"]
        rng = random.Random(f"preferences {args.seed}")
        torch.manual_seed(args.seed)
        chosen_prompts = [prompts[i % len(prompts)] for i in range(settings["pairs"])]
        task, rows = tasks.create(**args.settings["task"]), Rows()
        for start in range(0, len(chosen_prompts), settings["batch_size"]):
            batch = chosen_prompts[start : start + settings["batch_size"]]
            rows += (
                written(task, batch, tokenizer, rng)
                if by_task
                else sampled(task, batch, model, tokenizer, rng, args.settings)
            )
            progress.update(start + len(batch), len(chosen_prompts), "pairs")
        if not by_task:
            progress.say(
                f"{len(rows)} of {len(chosen_prompts)} pairs kept: both ended, and the labeller is not indifferent"
            )
        if not rows:
            raise ValueError(
                f"task {task.name}: no pair that the labeller is not indifferent to: do the reference's completions differ in gold?"
            )
        with job.atomic_path(args.output) as path:
            Dataset.from_list(rows).to_parquet(path)


if __name__ == "__main__":
    main()
