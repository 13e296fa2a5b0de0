"""The figures of a study: which of them a plan draws, the tables that each reads, and its caption.

`study.figure_declarations` describes what a script in figures/ must declare to be one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study import modules
from study.figure_declarations import Figure, read_declarations
from study.plan import Plan, TaskPlan

FOLDER = modules.ROOT / "figures"


@dataclass(frozen=True)
class Drawn:
    """The figures that a plan draws.

    Attributes:
        tasks: the tasks of the plan, by name.
        of_study: the figures of the whole study, by name.
        of_tasks: the figures of each task, by name.
    """

    tasks: Mapping[str, TaskPlan]
    of_study: Mapping[str, Figure]
    of_tasks: Mapping[str, Mapping[str, Figure]]

    def paths(self) -> list[str]:
        """Return every figure's path below the folder of figures, without an ending.

        A figure of the study has its name for a path, and a figure of a task has TASK/NAME.
        """
        paths = list(self.of_study)
        for task, figures in self.of_tasks.items():
            paths += [f"{task}/{name}" for name in figures]
        return paths

    def figure(self, name: str, task: str | None = None) -> Figure:
        """Return a figure of a task, or of the study where `task` is None."""
        return self.of_study[name] if task is None else self.of_tasks[task][name]

    def tables(self, results: str, name: str, task: str | None = None) -> list[str]:
        """Return the paths of the tables that a figure reads, in the study's folder of results."""
        folder = f"{results}/tables" if task is None else f"{results}/{task}/tables"
        return [f"{folder}/{table}.csv" for table in self.figure(name, task).reads]

    def options(self, results: str, name: str, task: str | None = None) -> list[str]:
        """Return the options `--TABLE PATH` with which the script of a figure is run."""
        options = []
        paths = self.tables(results, name, task)
        for table, path in zip(self.figure(name, task).reads, paths, strict=True):
            options += [f"--{table}", path]
        return options

    def caption(self, name: str, task: str | None = None) -> str:
        """Return the caption of a figure, whose placeholders the task fills."""
        return self.figure(name, task).caption(None if task is None else self.tasks[task])

    def captions(self) -> dict[str, str]:
        """Return the caption of every figure, by its path below the folder of figures."""
        captions = {name: self.caption(name) for name in self.of_study}
        for task, figures in self.of_tasks.items():
            captions |= {f"{task}/{name}": self.caption(name, task) for name in figures}
        return captions


def drawn(plan: Plan, folder: Path = FOLDER) -> Drawn:
    """Return the figures that a plan draws.

    Raises:
        FigureError: naming the first script whose declaration cannot be used.
    """
    figures = read_declarations(folder)
    of_study = {name: figure for name, figure in figures.items() if figure.scope == "study"}
    of_tasks = {}
    for task in plan.tasks.values():
        chosen = {name: figure for name, figure in figures.items() if figure.applies_to(task)}
        of_tasks[task.name] = chosen
    return Drawn(plan.tasks, of_study, of_tasks)
