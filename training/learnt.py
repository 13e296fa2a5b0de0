"""What the reference has learnt: measured on completions of validation prompts, and checked."""

from __future__ import annotations

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import tasks
from dera import chat
from dera.decoding import sample_completions

#: Prompts whose completions are sampled at once.
BATCH = 128


class NotLearntError(ValueError):
    """A reference that has not learnt its task.

    The message names the measure, its value and the threshold.
    """


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: tasks.Task,
    prompts: list[str],
    max_new_tokens: int,
) -> dict[str, float]:
    """Sample one completion for each prompt and return the mean of each measure the task has.

    `finished`, the share of completions that ended by themselves, is added. A mean is over the
    prompts that the measure applies to, and a measure that applies to none is left out.
    """
    reader = chat.for_prompts(tokenizer)
    measured: dict[str, list[float]] = {}
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        completions = sample_completions(model.eval(), reader, batch, max_new_tokens)
        ids = completions.token_ids()
        judged = tasks.judge(task, batch, tokenizer.batch_decode(ids), ids)
        for name, values in {**judged, "finished": completions.finished()}.items():
            measured.setdefault(name, []).extend(map(float, values))
    return {
        name: float(np.nanmean(values))
        for name, values in measured.items()
        if not np.isnan(values).all()
    }


def check(task: str, means: dict[str, float], minimum: dict[str, float]) -> None:
    """Check that each measure in `minimum` reaches its value.

    Args:
        task: name of the task, for the message.
        means: what `measure` returned.
        minimum: the config's `sft.minimum`.

    Raises:
        NotLearntError: if a mean is smaller, or if the task has no such measure.
    """
    for name, threshold in minimum.items():
        if name not in means:
            raise NotLearntError(
                f"task {task}: sft.minimum.{name}: the task has no such measure; "
                f"it has {', '.join(sorted(means))}"
            )
        if means[name] < threshold:
            raise NotLearntError(
                f"task {task}: the reference has not learnt its task: {name} is {means[name]:.3f} "
                f"on validation prompts, and sft.minimum.{name} = {threshold:g}. "
                "Train it longer (sft.steps), or make the model larger"
            )
