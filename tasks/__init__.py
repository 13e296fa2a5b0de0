"""What we align to: one module for each task, in this folder or in a file that the config names.

A module offers a function `create(settings) -> Task` and a constant `CORPUS`. `CORPUS` is "any" if
the task works on the documents of any corpus (`tasks.corpora`), "own" if it draws its own documents
from the made world, "files" if it reads files on this machine, and "fetched" if it reads published
files, which its constant `FILES` names.
"""

from __future__ import annotations

import math
import numbers
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_type_hints

from study import modules
from study.job import settings_class

if TYPE_CHECKING:  # importing datasets takes seconds, and checking a config needs no data
    from datasets import Dataset

#: What a setting may be whose parameter is declared as one of these types.
PLAIN_TYPES: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
}


class Task(Protocol):
    """What a task offers.

    A task may also write preference pairs (`preferences.source: task` in the config). It then has a
    method `pair(prompt, rng)`, which returns two completions of a prompt. The first has the higher
    gold.

    A task whose refusals a rule judges may have an attribute `judge_errors`, which says how often
    people found the rule wrong (`tasks.text.rates.JudgeErrors`). The claims then count that error.
    """

    name: str
    version: int

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Make the data: one Dataset for each split, with columns `prompt` and `completion`.

        No prompt is in two splits.

        Args:
            corpus: the config's section `corpus`.
            files: the file of each split, if the corpus reads files.
            seed: seed of everything that is drawn.
        """
        ...

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Say how good completions are, from their text and from their tokens.

        Args:
            prompts: the prompt of each completion.
            completions: the texts.
            completion_ids: their token ids, without special tokens.

        Returns:
            The task's measures by name, each with one number for each completion. `gold`, the
            task's own verdict, must be among them. NaN means that a measure does not apply to a
            prompt (for example `refused_harmful` to a harmless request), and is not allowed for
            gold. Where a task has the measure `wellformed`, it is 1 if the completion is in the
            task's language and otherwise 0.
        """
        ...


@settings_class
class TaskSettings:
    """How a job is told which task it works on.

    `name` and `settings` are those of the task in the config. `module` names the task's module
    where it is not the module of that name in tasks/.
    """

    name: str
    settings: dict[str, Any]
    module: str | None = None

    def create(self) -> Task:
        """Make the task."""
        return create(self.name, self.settings, self.module)


class TaskError(ValueError):
    """A task that broke its contract; the message names the task and the bad value."""


def available() -> list[str]:
    """Return the names of the tasks in this folder, which can be put in a config."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def create(name: str, settings: Mapping[str, Any], module: str | None = None) -> Task:
    """Make a task from its name and its settings.

    Args:
        name: what the study calls it, and the name of its module in this folder unless `module` is
            given.
        settings: the task's section `settings` of the config.
        module: another module of this folder, the path of a file, or an entry point (group
            `dera.tasks`).

    Raises:
        TaskError: if there is no such module, if it cannot be imported, or if the task does not
            accept the settings.
    """
    try:
        loaded = modules.load(modules.find("tasks", module or name))
    except modules.ModuleError as error:
        raise TaskError(f"tasks.{name}.module = {module or name!r}: {error}") from error
    where = f"tasks.{name}.settings = {dict(settings)}"
    try:
        task = loaded.create(settings)
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise TaskError(f"{where}: create raised {type(error).__name__}: {error}") from error
    missing = [method for method in ("splits", "judge") if not hasattr(task, method)]
    if missing:
        raise TaskError(
            f"tasks.{name}.module = {module or name!r}: create returned {type(task).__name__}, "
            f"which has no method {' and no method '.join(missing)}; tasks.Task says what it needs"
        )
    _check_types(where, task, settings)
    return task


def _check_types(where: str, task: Task, settings: Mapping[str, Any]) -> None:
    """Check settings against the types that the task's class declares for them.

    A number with a point where a whole one belongs would fail late, or shift what is judged. A
    parameter is compared if it has the name of a setting and is declared as one plain type.

    Raises:
        TaskError: naming the first setting of another type.
    """
    kind_of_task: Any = type(task)
    try:
        declared = get_type_hints(kind_of_task.__init__)
    except Exception:  # what cannot be read declares nothing
        return
    for name, value in settings.items():
        kind = declared.get(name)
        if kind not in PLAIN_TYPES or type(value) in PLAIN_TYPES[kind]:
            continue
        raise TaskError(
            f"{where}: {name} = {value!r} must be of type {kind.__name__}, "
            f"and is of type {type(value).__name__}"
        )


def measures_of(task: Task) -> set[str] | None:
    """Return the names of a task's measures, or None if it cannot judge an empty list."""
    try:
        return set(task.judge([], [], []))
    except (Exception, SystemExit):
        return None


def by_measure(names: Iterable[str], rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return what `Task.judge` returns, from a mapping of measures for each completion.

    Args:
        names: the measures, which are there even if there is no completion.
        rows: the measures of each completion.
    """
    return {name: [row[name] for row in rows] for name in names}


def judge(
    task: Task,
    prompts: Sequence[str],
    completions: Sequence[str],
    completion_ids: Sequence[Sequence[int]],
) -> dict[str, list[float]]:
    """Call `task.judge` and check what it returns.

    Because of this check nothing is trained on a broken reward, and nothing is concluded from one.

    Raises:
        TaskError: if the task raises, if it returns no gold or a wrong number of values, or if a
            value is infinite or no number. NaN is refused for gold only.
    """
    try:
        measures = task.judge(prompts, completions, completion_ids)
    except (Exception, SystemExit) as error:
        raise TaskError(
            f"task {task.name}: judge raised {type(error).__name__}: {error}"
        ) from error

    # Each measure must have one usable value for each completion.
    if "gold" not in measures:
        raise TaskError(f"task {task.name}: judge returned {sorted(measures)}, without 'gold'")
    for name, values in measures.items():
        if len(values) != len(completions):
            raise TaskError(
                f"task {task.name}: judge returned {len(values)} values of {name!r} "
                f"for {len(completions)} completions"
            )
        for prompt, completion, value in zip(prompts, completions, values, strict=True):
            if not _is_allowed(name, value):
                raise TaskError(
                    f"task {task.name}: {name!r} is {value} for completion {completion!r} "
                    f"of prompt {prompt!r}"
                )
    return measures


def _is_allowed(measure: str, value: Any) -> bool:
    """Say whether a measure may have this value."""
    if not isinstance(value, numbers.Real) or math.isinf(value):
        return False
    return measure != "gold" or not math.isnan(value)


def weighted(
    task: Task, measures: Mapping[str, Sequence[float]], weights: Mapping[str, float]
) -> list[float]:
    """Return a weighted sum of some of a task's measures, one number for each completion.

    Args:
        task: the task, whose name goes into messages.
        measures: what `judge` returned.
        weights: the weight of each measure that counts.

    Raises:
        TaskError: if the task has no such measure, or if the sum is NaN because a measure does not
            apply to a prompt.
    """
    unknown = sorted(set(weights) - set(measures))
    if unknown:
        raise TaskError(
            f"task {task.name}: there is no measure {unknown} to reward; "
            f"there are {sorted(measures)}"
        )

    def reward(row: int) -> float:
        return sum(weight * measures[name][row] for name, weight in weights.items())

    sums = [reward(row) for row in range(len(measures["gold"]))]
    if any(math.isnan(value) for value in sums):
        raise TaskError(
            f"task {task.name}: a reward of {dict(weights)} does not apply to every prompt"
        )
    return sums
