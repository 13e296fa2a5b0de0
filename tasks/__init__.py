"""What we align to: one module a task, each offering `create(settings) -> Task`.

A task is a reward and a way to phrase prompts; its documents come from a corpus (`tasks.corpora`), so the same task runs on
the made world and on text that people wrote.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from datasets import Dataset

from tasks import corpora


class Task(Protocol):
    """What a task offers.

    `reward` gets prompts and completions as text and as token ids without special tokens, and returns one number a
    completion. `format_prompt` and `format_completion` turn a document and a summary into what the model reads and writes.
    """

    name: str
    version: int

    def format_prompt(self, document: str) -> str: ...

    def format_completion(self, summary: str) -> str: ...

    def reward(
        self, prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[float]: ...


def available() -> list[str]:
    """Names of the tasks that can be put in a config."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def create(settings: dict[str, Any]) -> Task:
    """Make the task `settings["name"]` describes."""
    return importlib.import_module(f"tasks.{settings['name']}").create(settings)


def make_splits(task: Task, corpus_settings: dict[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Documents and demonstrations, phrased for the model: columns `prompt` and `completion`, one Dataset a split."""
    splits = corpora.load(corpus_settings, files, seed)
    return {
        name: Dataset.from_dict(
            {
                "prompt": [task.format_prompt(text) for text in split["prompt"]],
                "completion": [task.format_completion(text) for text in split["completion"]],
            }
        )
        for name, split in splits.items()
    }
