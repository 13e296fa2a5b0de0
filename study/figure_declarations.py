"""What a figure's script declares about itself.

Each script in figures/ that draws a figure declares itself at its top. The declarations are
literals, so that they are read without importing the script (importing matplotlib takes seconds):

    SCOPE = "task"             # one figure for each task; "study" for one figure of the whole study
    READS = ["policies"]       # it reads tables/policies.csv, of the task or of the study
    CAPTION = "..."            # whole sentences, in reStructuredText
    TASKS = ["length"]         # optional: only for these tasks
    WHEN = "has_baselines"     # optional: only for tasks where this property of the plan holds

The caption of a task's figure may have placeholders such as {settings.max_tokens}, which are filled
from the task's section of the config. A script that declares none of the first three is a helper.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from study import modules
from study.plan import TaskPlan

SCOPES = ("task", "study")
REQUIRED = ("SCOPE", "READS", "CAPTION")
OPTIONAL = ("TASKS", "WHEN")


class FigureError(ValueError):
    """A figure whose declaration cannot be used; the message names its file and what is wrong."""


@dataclass(frozen=True)
class Figure:
    """What one figure declares.

    Attributes:
        name: the name of its script, without `.py`.
        file: the path of its script.
        scope: "task" or "study".
        reads: names of the tables it reads.
        template: the caption, whose placeholders are not filled yet.
        tasks: the tasks it is drawn for; None if it is drawn for all.
        when: a property of TaskPlan that a task must have; None if the figure asks for none.
    """

    name: str
    file: Path
    scope: str
    reads: tuple[str, ...]
    template: str
    tasks: tuple[str, ...] | None
    when: str | None

    def applies_to(self, task: TaskPlan) -> bool:
        """Return whether the figure is drawn for a task."""
        if self.scope != "task":
            return False
        if self.tasks is not None and task.name not in self.tasks:
            return False
        return self.when is None or bool(getattr(task, self.when))

    def caption(self, task: TaskPlan | None = None) -> str:
        """Return the caption; placeholders are filled from the task's section of the config.

        Raises:
            FigureError: if the section has no such value.
        """
        section = {} if task is None else task.section
        pieces = []
        for text, placeholder, _, _ in Formatter().parse(self.template):
            pieces.append(text)
            if placeholder is not None:
                pieces.append(self._value(section, placeholder, task))
        return "".join(pieces).strip()

    def _value(self, section: Mapping[str, Any], placeholder: str, task: TaskPlan | None) -> str:
        """Return the value at a path such as `settings.max_tokens`, in words for a sentence."""
        value: Any = section
        for key in placeholder.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise FigureError(
                    f"{self.file}: CAPTION has the placeholder {{{placeholder}}}, but there is no "
                    f"such key in the config below tasks.{task and task.name}; write the caption "
                    f"without it, or name a key that is there"
                )
            value = value[key]
        return _in_words(value) if isinstance(value, list | tuple) else str(value)


def read_declarations(folder: Path) -> dict[str, Figure]:
    """Return every figure that a script in the folder declares, by name.

    Raises:
        FigureError: naming the first script whose declaration cannot be used.
    """
    figures = {}
    for file in sorted(folder.glob("*.py")):
        names = _assigned(file)
        if names.intersection(REQUIRED):
            figures[file.stem] = _figure(file, names)
    return figures


def _in_words(values: Sequence[Any]) -> str:
    """Return a list as it is written in a sentence: "a, b and c"."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def _assigned(file: Path) -> set[str]:
    """Return the names that a script assigns at its top."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise FigureError(f"{file}, line {error.lineno}: {error.msg}") from error
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _figure(file: Path, names: set[str]) -> Figure:
    """Return what a script declares, after checking it."""
    # Read the literals.
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise FigureError(f"{file} must declare {' and '.join(missing)} at its top")
    values = {}
    for name in REQUIRED + OPTIONAL:
        try:
            values[name] = modules.literal(str(file), name) if name in names else None
        except modules.ModuleError as error:
            raise FigureError(str(error)) from error

    # Check what each of them says.
    scope = values["SCOPE"]
    if scope not in SCOPES:
        allowed = " or ".join(map(repr, SCOPES))
        raise FigureError(f"{file} declares SCOPE = {scope!r}; it must be {allowed}")
    _check_caption(file, scope, values["CAPTION"])
    reads = _names(file, "READS", values["READS"])
    tasks = None if values["TASKS"] is None else _names(file, "TASKS", values["TASKS"])
    _check_condition(file, scope, tasks, values["WHEN"])
    return Figure(file.stem, file, scope, reads, values["CAPTION"], tasks, values["WHEN"])


def _check_caption(file: Path, scope: str, caption: Any) -> None:
    """Check that a caption is a text, and that a task can fill its placeholders."""
    if not isinstance(caption, str) or not caption.strip():
        raise FigureError(f"{file} declares CAPTION = {caption!r}; it must be a text")
    try:
        placeholders = [name for _, name, _, _ in Formatter().parse(caption) if name is not None]
    except ValueError as error:
        raise FigureError(f"{file}: CAPTION has a brace too many or too few: {error}") from error
    if scope == "study" and placeholders:
        raise FigureError(
            f"{file}: CAPTION has the placeholder {{{placeholders[0]}}}, but a figure of the whole "
            f"study has no task that could fill it"
        )


def _names(file: Path, name: str, value: Any) -> tuple[str, ...]:
    """Return a list of names as a tuple, after checking that it is one."""
    if not isinstance(value, list | tuple) or not value:
        raise FigureError(f"{file} declares {name} = {value!r}; it must be a list of names")
    if not all(isinstance(item, str) for item in value):
        raise FigureError(f"{file} declares {name} = {value!r}; every item must be a text")
    return tuple(value)


def _check_condition(file: Path, scope: str, tasks: tuple[str, ...] | None, when: Any) -> None:
    """Check that only a figure of tasks has TASKS or WHEN, and that the plan knows the WHEN."""
    if scope == "study" and (tasks is not None or when is not None):
        raise FigureError(
            f"{file} declares SCOPE = 'study', so it must not declare TASKS or WHEN, which say "
            f"for which tasks a figure is drawn"
        )
    conditions = sorted(name for name in vars(TaskPlan) if name.startswith("has_"))
    if when is not None and when not in conditions:
        raise FigureError(
            f"{file} declares WHEN = {when!r}; it must be one of {', '.join(conditions)}"
        )
