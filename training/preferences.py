"""Make preference pairs for the training prompts, from one of two sources.

`reference`: two or more completions of a prompt are sampled from the reference, and of every two of
them the study's labeller (`tasks.rewards.labeller`) says which is better. A pair of equal utility
teaches nothing and is left out. A pair with a completion that did not end in time is left out too.
The table has the log-probabilities of these completions under the reference: sampling computes them
anyway, and DPO needs them at every beta. It does not have them where the reference samples in half
precision: they are rounded then, and training computes them in float32.

`task`: the task writes both completions, and which is better is exact. The reference did not write
them, so these pairs can teach a reward model, and not an objective such as DPO.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

import tasks
from dera import chat
from dera.decoding import sample_completions
from study import job
from tasks import TaskSettings
from tasks.rewards import labeller
from training import trainer as shared
from training.log_probs import CHOSEN_LOGP, REJECTED_LOGP, SampledLogProbs
from training.settings import PreferenceSettings

Rows = list[dict[str, Any]]


@job.settings_class
class PairSettings:
    """The task, the config's section `preferences`, and how long a sampled completion may be."""

    task: TaskSettings
    preferences: PreferenceSettings
    max_new_tokens: int


def written_by_task(task: Any, prompts: list[str], tokenizer: Any, rng: random.Random) -> Rows:
    """Return one pair for each prompt, as the task writes it.

    Raises:
        tasks.TaskError: if the first completion of a pair has no higher gold than the second.
    """
    rows = []
    for prompt in prompts:
        pair = task.pair(prompt, rng)
        ids = tokenizer(list(pair)).input_ids
        chosen, rejected = tasks.judge(task, [prompt, prompt], pair, ids)["gold"]
        if chosen <= rejected:
            raise tasks.TaskError(
                f"task {task.name}: `pair` must return the better completion first, but the gold "
                f"of {pair} is {chosen} and {rejected}"
            )
        rows.append(_row(prompt, pair, (chosen, rejected)))
    return rows


def sampled_from_reference(
    task: Any,
    prompts: list[str],
    model: Any,
    tokenizer: Any,
    rng: random.Random,
    settings: PairSettings,
) -> Rows:
    """Return the pairs of each prompt. The model samples completions, and the labeller chooses."""
    # The completions of a prompt stand side by side.
    of_a_prompt = settings.preferences.completions
    repeated = [prompt for prompt in prompts for _ in range(of_a_prompt)]
    reader = chat.for_prompts(tokenizer)
    log_probs = SampledLogProbs(len(repeated))
    completions = sample_completions(
        model, reader, repeated, settings.max_new_tokens, on_step=log_probs.add
    )
    logps = log_probs.together().sum(1).tolist()
    ids = completions.token_ids()
    texts = tokenizer.batch_decode(ids)
    gold = tasks.judge(task, repeated, texts, ids)["gold"]
    utilities = labeller.utilities(
        gold, ids, settings.preferences.sharpness, settings.preferences.length_bias
    )

    # TRL tokenizes the text again and ends it with an end-of-sequence token. So a completion is of
    # use only if it ended, and if its text comes back as the tokens that were judged.
    same_tokens = [again == row for again, row in zip(tokenizer(texts).input_ids, ids, strict=True)]
    usable = [
        ended and same for ended, same in zip(completions.finished(), same_tokens, strict=True)
    ]

    # The labeller says which completion of a usable pair is better.
    rows = []
    for i, j in _pairs_of_each(len(prompts), of_a_prompt):
        if not (usable[i] and usable[j]) or utilities[i] == utilities[j]:
            continue
        first_is_better = labeller.prefers_first(rng, utilities[i], utilities[j])
        better, worse = (i, j) if first_is_better else (j, i)
        row = _row(repeated[i], (texts[better], texts[worse]), (gold[better], gold[worse]))
        if model.dtype == torch.float32:
            row |= {CHOSEN_LOGP: logps[better], REJECTED_LOGP: logps[worse]}
        rows.append(row)
    return rows


def _pairs_of_each(prompts: int, of_a_prompt: int) -> Iterator[tuple[int, int]]:
    """Yield the places of every two completions of a prompt, prompt by prompt."""
    for first in range(0, prompts * of_a_prompt, of_a_prompt):
        yield from itertools.combinations(range(first, first + of_a_prompt), 2)


def _row(prompt: str, pair: tuple[str, str], gold: tuple[float, float]) -> dict[str, Any]:
    """Return one row of the table; the first of the pair is the chosen completion."""
    return {
        "prompt": prompt,
        "chosen": pair[0],
        "rejected": pair[1],
        "chosen_gold": gold[0],
        "rejected_gold": gold[1],
    }


def make_pairs(
    settings: PairSettings,
    prompts: list[str],
    model: Any,
    tokenizer: Any,
    seed: int,
    progress: job.Progress,
) -> Rows:
    """Ask for as many pairs as the settings say, taking the prompts in order, again and again.

    Raises:
        ValueError: if no pair is left.
    """
    # Two sources of random numbers: `rng` for labels and the task's pairs, torch's for sampling.
    preferences = settings.preferences
    by_task = preferences.source == "task"
    task = settings.task.create()
    rng = random.Random(f"preferences {seed}")
    torch.manual_seed(seed)

    # So many pairs are asked for each prompt of a batch. Some prompts give fewer.
    of_a_prompt = preferences.pairs_of_a_prompt
    times = math.ceil(preferences.pairs / of_a_prompt)
    asked = [prompts[i % len(prompts)] for i in range(times)]
    rows = Rows()
    for start in range(0, len(asked), preferences.batch_size):
        batch = asked[start : start + preferences.batch_size]
        if by_task:
            rows += written_by_task(task, batch, tokenizer, rng)
        else:
            rows += sampled_from_reference(task, batch, model, tokenizer, rng, settings)
        done = (start + len(batch)) * of_a_prompt
        progress.update(done, len(asked) * of_a_prompt, "pairs")

    if not by_task:
        progress.say(
            f"kept {len(rows)} of {len(asked) * of_a_prompt} pairs: those of two completions that "
            "ended and that the labeller is not indifferent to"
        )
    if not rows:
        raise ValueError(
            f"task {task.name}: no pair is left, because the labeller is indifferent to each or a "
            "completion did not end; train the reference longer (sft.steps) or ask for more pairs "
            "(preferences.pairs)"
        )
    return rows


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the pairs")
    args = parser.parse_args()
    settings = job.settings_of(args, PairSettings)
    with job.running(f"{settings.task.name} preferences", args) as progress:
        model, tokenizer = shared.load_model(args.reference)
        model.to(job.device())
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"]
        rows = make_pairs(settings, prompts, model, tokenizer, args.seed, progress)
        with job.atomic_path(args.output) as path:
            Dataset.from_list(rows).to_parquet(path)


if __name__ == "__main__":
    main()
