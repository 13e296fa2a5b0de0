"""Check what a schema cannot say about a task's section: whether its keys fit one another.

The files that the section names are read too, and the task is made once to check its settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tasks as task_modules
from study import modules, names
from study.objective_checks import pairs_are_sampled
from study.schema import ConfigError

CORPUS_VARIABLE = "DERA_CORPUS"


def check_task(key: str, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
    """Check the section of a task, which stands at `key` and has passed the schema.

    The alignments, the baselines and the section `several_rewards` are checked elsewhere.

    Returns:
        The task's module, and the corpora it works on: "any", or only its "own".

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    module, corpora = _task_module(key, name, section)
    kind = section["corpus"]["kind"]
    if kind != "made_world" and corpora != "any":
        raise ConfigError(
            f"{key}.corpus.kind = {kind!r}: {name} draws its own documents; "
            "only 'made_world' is allowed"
        )
    try:
        task = task_modules.create(name, section["settings"], section.get("module"))
    except task_modules.TaskError as error:
        raise ConfigError(str(error)) from error
    if "preferences" in section:
        writes_pairs = hasattr(task, "pair")
        _check_preferences(f"{key}.preferences", section["preferences"], writes_pairs)
    _check_metrics(f"{key}.metrics", section.get("metrics", []))
    _check_sizes(key, section)
    return module, corpora


def corpus_files(key: str, corpus: Mapping[str, Any]) -> dict[str, str]:
    """The file of each split that a corpus of local files reads; none for the made world.

    The files lie in the corpus's `folder`, or in the folder that DERA_CORPUS names.

    Args:
        key: where the section `corpus` stands in the config, for messages.

    Raises:
        ConfigError: if no folder is named, or one of the files does not exist.
    """
    if corpus["kind"] != "local_files":
        return {}
    folder = corpus.get("folder") or os.environ.get(CORPUS_VARIABLE)
    if not folder:
        raise ConfigError(
            f"{key}.folder: not set; name the folder with your files in the config, or in the "
            f"environment as {CORPUS_VARIABLE}=/path/to/files"
        )
    paths = {}
    for split, name in corpus["files"].items():
        path = Path(folder) / name
        if not path.is_file():
            raise ConfigError(f"{key}.files.{split} = {name!r}: {path} does not exist")
        paths[split] = str(path)
    return paths


def _task_module(key: str, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
    """Find the module of a task and read which corpora it works on."""
    if "module" in section:
        where, value = f"{key}.module", section["module"]
    else:
        where, value = "tasks", name
    try:
        module = modules.find("tasks", value)
        modules.require_function(module, "create")
        return module, modules.constant(module, "CORPUS", ("any", "own"))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _check_sizes(key: str, section: Mapping[str, Any]) -> None:
    """Check that numbers in different places of a task's section fit one another."""
    settings = section["settings"]
    model = section["model"]
    if "max_tokens" in settings and model["max_new_tokens"] <= settings["max_tokens"]:
        raise ConfigError(
            f"{key}.model.max_new_tokens = {model['max_new_tokens']}: must be more than "
            f"{key}.settings.max_tokens = {settings['max_tokens']}, or a summary that was cut off "
            "would be rewarded"
        )
    if model["hidden_size"] % model["heads"]:
        raise ConfigError(
            f"{key}.model.hidden_size = {model['hidden_size']}: must be a multiple of "
            f"{key}.model.heads = {model['heads']}"
        )
    documents = section["corpus"].get("documents")
    prompts = section["evaluation"]["prompts"]
    if documents and documents["test"] < prompts:
        raise ConfigError(
            f"{key}.evaluation.prompts = {prompts}: must be at most "
            f"{key}.corpus.documents.test = {documents['test']}"
        )
    samples = section["evaluation"]["samples"]
    reading_samples = section["evaluation"].get("reading_samples", 1)
    if reading_samples > samples:
        raise ConfigError(
            f"{key}.evaluation.reading_samples = {reading_samples}: must be at most "
            f"{key}.evaluation.samples = {samples}, because no more completions are there to read"
        )
    if "reward_model" in section and "preferences" in section:
        _check_pairs_left(key, section["reward_model"], section["preferences"]["pairs"])


def _check_pairs_left(key: str, reward_model: Mapping[str, Any], pairs: int) -> None:
    """Check that the reward model's test set leaves at least one batch of pairs to train on."""
    held_out = reward_model["held_out"]
    batch_size = reward_model["batch_size"]
    if held_out + batch_size > pairs:
        raise ConfigError(
            f"{key}.reward_model.held_out = {held_out}: with batch_size = {batch_size} it must "
            f"leave something of {key}.preferences.pairs = {pairs} to train on; raise pairs"
        )


def _check_metrics(key: str, files: Sequence[str]) -> None:
    """Check that each metric is an `evaluate` module in a file whose name no other metric has."""
    file_by_name: dict[str, str] = {}
    for file in files:
        name = Path(file).stem
        if not Path(file).is_file():
            raise ConfigError(f"{key} = {file!r}: there is no file {Path(file).absolute()}")
        names.check(f"{key} = {file!r}", name, "metric")
        if name in file_by_name:
            raise ConfigError(
                f"{key}: {file_by_name[name]!r} and {file!r} are both named {name!r}, and a "
                "metric's column has its file's name; rename one"
            )
        file_by_name[name] = file
        try:
            modules.require_class(file, "_compute")
        except modules.ModuleError as error:
            raise ConfigError(f"{key} = {file!r}: {error}") from error


def _check_preferences(key: str, section: Mapping[str, Any], writes_pairs: bool) -> None:
    """Check that sampled pairs have a labeller, and that pairs written by the task have none."""
    if pairs_are_sampled(section):
        if "sharpness" not in section:
            raise ConfigError(
                f"{key}: 'sharpness' is a required property where the reference is the source"
            )
        return
    if not writes_pairs:
        raise ConfigError(
            f"{key}.source = 'task': this task writes no pairs (it has no method `pair`); "
            "allowed: 'reference'"
        )
    for name in ("sharpness", "length_bias"):
        if name in section:
            raise ConfigError(
                f"{key}.{name} = {section[name]}: what the task writes needs no labeller; remove it"
            )
