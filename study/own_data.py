"""Read the data of a user's own before any job starts, and refuse what cannot be used.

Tables on this machine are read, and those of the Hub once they were fetched. The jobs that read
them make the same checks. Only they know a tokenizer, so here a prompt is too long if it has more
words than the model has room for tokens.
"""

from __future__ import annotations

import sys
from pathlib import Path

from study import modules, sources
from study.checks import CORPORA
from study.plan import Plan, TaskPlan
from study.sources import Source
from tasks.corpora import columns, local_files, tables
from tasks.corpora.columns import Texts
from tasks.corpora.tables import TableError


def check_or_exit(plan: Plan) -> None:
    """Check the data of every task; what is wrong ends the process with one line."""
    try:
        for task in plan.tasks.values():
            check(task)
    except TableError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)


def check(task: TaskPlan) -> None:
    """Check the prompts, completions and pairs of a task that are on this machine.

    Raises:
        TableError: naming the task's key, the file, the row and the column.
    """
    key = f"tasks.{task.name}"
    splits: dict[str, Texts] = {}
    corpus = task.section["corpus"]
    try:
        if corpus["kind"] == "local_files":
            there = {
                name: sources.where(s) for name, s in task.corpus_sources.items() if _is_there(s)
            }
            divided = modules.constant(task.module, "CORPUS", tuple(CORPORA)) == "files"
            splits = local_files.read(corpus, there, divided)
            _check_sizes(task, splits)
    except TableError as error:
        raise TableError(f"{key}.corpus: {error}") from error

    if task.pairs_source is None or not _is_there(task.pairs_source):
        return
    preferences = task.section["preferences"]
    try:
        pairs = columns.texts(tables.read(sources.where(task.pairs_source)), preferences)
        if not preferences.get("skip_unusable"):
            _check_words(task, pairs)
        if "test" in splits:
            columns.check_apart(pairs, splits["test"])
    except TableError as error:
        raise TableError(f"{key}.preferences: {error}") from error


def _is_there(source: Source) -> bool:
    """Whether a table is on this machine."""
    path = Path(sources.where(source))
    return any(path.parent.glob(path.name))


def _check_sizes(task: TaskPlan, splits: dict[str, Texts]) -> None:
    """Check that prompts are neither too long nor too few."""
    for texts in splits.values():
        _check_words(task, texts)
    prompts = task.section["evaluation"]["prompts"]
    if "test" in splits and len(splits["test"].places) < prompts:
        raise TableError(
            f"the test split has {len(splits['test'].places)} prompts, and evaluation.prompts is "
            f"{prompts}; lower evaluation.prompts"
        )


def _check_words(task: TaskPlan, texts: Texts) -> None:
    """Check that no prompt has more words than the model has room for tokens of prompts."""
    model = task.section["model"]
    room = model["max_positions"] - model["max_new_tokens"]
    for place, prompt in zip(texts.places, texts.prompts, strict=True):
        words = len(prompt.split())
        if words > room:
            raise TableError(
                f"{place}: the prompt has {words} words, and model.max_positions less "
                f"model.max_new_tokens leaves room for {room} tokens; raise model.max_positions, "
                "or remove or shorten the prompt"
            )
