"""The settings that name a task, as the jobs that work on a task receive them."""

from __future__ import annotations

from typing import Any

import tasks
from study.job import settings_class


@settings_class
class TaskSettings:
    """One task of the study: its name in the config, its own settings, and its module.

    The module is the one in `tasks/` with the task's name where `module` is absent.
    """

    name: str
    settings: dict[str, Any]
    module: str | None = None

    def create(self) -> tasks.Task:
        """Make the task; `tasks.create` says which errors this raises."""
        return tasks.create(self.name, self.settings, self.module)
