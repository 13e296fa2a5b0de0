"""What we align to: one module a task, each offering `create(settings) -> Task`, and a constant `CORPUS`: "any" if it works on the
documents of any corpus (`tasks.corpora`), "own" if it draws its own from the made world. It may be a file of your own that the config names."""

from __future__ import annotations

import math
import numbers
import pkgutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from study import modules

if TYPE_CHECKING:  # importing it takes seconds, and whoever checks a config needs no data
    from datasets import Dataset


class Task(Protocol):
    """What a task offers.

    `splits` makes the data: columns `prompt` and `completion`, one Dataset a split, no prompt in two of them. `judge` says how good
    completions are, from text and from token ids without special tokens. It returns one number a completion under each name; `gold`, the
    task's own verdict, must be among the names. NaN means that a name does not apply to a prompt (`refused_harmful`
    of a harmless one) and is not allowed for gold. `wellformed` (1 or 0), where a task has it, says whether a completion is one the task's language has.

    A task may also write preference pairs (`preferences.source: task` in the config): `pair(prompt, rng)` gives two completions of a prompt, of
    which the first has the higher gold.
    """

    name: str
    version: int

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]: ...

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]: ...


class TaskError(ValueError):
    """A task that broke its contract; the message names the task, and the number that is wrong."""


def available() -> list[str]:
    """Names of the tasks that can be put in a config."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def create(name: str, settings: Mapping[str, Any], module: str | None = None) -> Task:
    """Make a task from its name and its own section of the config.

    Args:
        name: what the study calls it; its module in this folder where `module` is absent.
        settings: its own settings.
        module: another module of this folder, the path of a file, or an entry point (group `dera.tasks`).

    Raises:
        TaskError: if there is no such module, it cannot be imported, or the settings are not the task's.
    """
    try:
        loaded = modules.load(modules.find("tasks", module or name))
    except modules.ModuleError as error:
        raise TaskError(f"tasks.{name}.module = {module or name!r}: {error}") from error
    try:
        return loaded.create(settings)
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"tasks.{name}.settings = {dict(settings)}: {error}") from error


def judge(
    task: Task,
    prompts: Sequence[str],
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]],
) -> dict[str, list[float]]:
    """`task.judge`, with its answer checked: nothing is trained on, or concluded from, a broken reward.

    Raises:
        TaskError: if the task raises, or returns a wrong number of values, a gold that is not finite, or no gold.
    """
    try:
        found = task.judge(prompts, completions, completion_ids)
    except Exception as error:
        raise TaskError(
            f"task {task.name}: judge raised {type(error).__name__}: {error}"
        ) from error
    if "gold" not in found:
        raise TaskError(f"task {task.name}: judge returned {sorted(found)}, without 'gold'")
    for name, values in found.items():
        if len(values) != len(completions):
            raise TaskError(
                f"task {task.name}: judge returned {len(values)} values of {name!r} for {len(completions)} completions"
            )
        for prompt, completion, value in zip(prompts, completions, values, strict=True):
            if (
                not isinstance(value, numbers.Real)
                or math.isinf(value)
                or (name == "gold" and math.isnan(value))
            ):
                raise TaskError(
                    f"task {task.name}: {name!r} is {value} for completion {completion!r} of prompt {prompt!r}"
                )
    return found


def weighted(
    task: Task, found: Mapping[str, Sequence[float]], weights: Mapping[str, float]
) -> list[float]:
    """The weighted sum of some of a task's measures, one number a completion, from what `judge` found.

    Raises:
        TaskError: if the task has no such measure, or it is NaN because it does not apply to a prompt.
    """
    unknown = sorted(set(weights) - set(found))
    if unknown:
        raise TaskError(
            f"task {task.name}: there is no measure {unknown} to reward; there are {sorted(found)}"
        )
    sums = [
        sum(weight * found[name][i] for name, weight in weights.items())
        for i in range(len(found["gold"]))
    ]
    if any(math.isnan(value) for value in sums):
        raise TaskError(
            f"task {task.name}: a reward of {dict(weights)} does not apply to every prompt"
        )
    return sums
