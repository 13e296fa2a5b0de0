"""What a schema cannot say of a task's section of the config: how its parts fit one another, and the files it names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tasks as task_modules
from study import modules, several_rewards
from study.schema import ConfigError

CORPUS_VARIABLE = "DERA_CORPUS"


@dataclass(frozen=True)
class Objective:
    """What an alignment is made with: its module, as `study.modules.load` takes it, and what that declares."""

    module: str
    data: str
    optimum: str


def check_task(
    key: str, name: str, section: Mapping[str, Any]
) -> tuple[str, str, dict[str, Objective]]:
    """Check a task's section, which stands at `key` and has passed the schema.

    Returns:
        The task's module, the corpora it works on ("any", or its "own" alone), and what each alignment is made with.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    module, corpora = _task_module(key, name, section)
    if section["corpus"]["kind"] != "made_world" and corpora != "any":
        raise ConfigError(
            f"{key}.corpus.kind = {section['corpus']['kind']!r}: {name} draws its own documents; only 'made_world' is allowed"
        )
    try:
        task = task_modules.create(name, section["settings"], section.get("module"))
    except task_modules.TaskError as error:
        raise ConfigError(str(error)) from error
    if "preferences" in section:
        _check_preferences(
            f"{key}.preferences", section["preferences"], writes_pairs=hasattr(task, "pair")
        )
    _check_metrics(f"{key}.metrics", section.get("metrics", []))
    _check_sizes(key, section)
    _check_comparators(
        f"{key}.dera.baselines", section["dera"].get("baselines", {}), key, section["evaluation"]
    )
    objectives = _check_alignments(key, section)
    if "several_rewards" in section:
        several_rewards.check(key, section)
    return module, corpora, objectives


def corpus_files(key: str, corpus: Mapping[str, Any]) -> dict[str, str]:
    """The file of each split a corpus of local files reads, in its `folder` or the folder DERA_CORPUS names; none for the made world.

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
            f"{key}.folder: not set; name the folder with your files in the config, or in the environment as {CORPUS_VARIABLE}=/path/to/files"
        )
    paths = {split: Path(folder) / name for split, name in corpus["files"].items()}
    for split, path in paths.items():
        if not path.is_file():
            raise ConfigError(
                f"{key}.files.{split} = {corpus['files'][split]!r}: {path} does not exist"
            )
    return {split: str(path) for split, path in paths.items()}


def pairs_are_sampled(preferences: Mapping[str, Any]) -> bool:
    """Whether a `preferences` section has pairs sampled from the reference and labelled, not written by the task."""
    return bool(preferences.get("source", "reference") == "reference")


def _task_module(key: str, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
    where, value = (f"{key}.module", section["module"]) if "module" in section else ("tasks", name)
    try:
        module = modules.find("tasks", value)
        modules.require_function(module, "create")
        return module, modules.constant(module, "CORPUS", ("any", "own"))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _objective(key: str, name: str, section: Mapping[str, Any]) -> Objective:
    where, value = (
        (f"{key}.objective", section["objective"])
        if "objective" in section
        else (key.rpartition(".")[0], name)
    )
    try:
        module = modules.find("training.objectives", value)
        modules.require_function(module, "make_trainer")
        data = modules.constant(module, "DATA", ("prompts", "preferences"))
        return Objective(module, data, modules.constant(module, "OPTIMUM", ("known", "unknown")))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _check_sizes(key: str, section: Mapping[str, Any]) -> None:
    settings, model = section["settings"], section["model"]
    if "max_tokens" in settings and model["max_new_tokens"] <= settings["max_tokens"]:
        raise ConfigError(
            f"{key}.model.max_new_tokens = {model['max_new_tokens']}: must be more than {key}.settings.max_tokens = "
            f"{settings['max_tokens']}, or a summary that was cut off would be rewarded"
        )
    if model["hidden_size"] % model["heads"]:
        raise ConfigError(
            f"{key}.model.hidden_size = {model['hidden_size']}: must be a multiple of {key}.model.heads = {model['heads']}"
        )
    documents, prompts = section["corpus"].get("documents"), section["evaluation"]["prompts"]
    if documents and documents["test"] < prompts:
        raise ConfigError(
            f"{key}.evaluation.prompts = {prompts}: must be at most {key}.corpus.documents.test = {documents['test']}"
        )
    if "reward_model" in section and "preferences" in section:
        model, pairs = section["reward_model"], section["preferences"]["pairs"]
        if model["held_out"] + model["batch_size"] > pairs:
            raise ConfigError(
                f"{key}.reward_model.held_out = {model['held_out']}: with batch_size = {model['batch_size']} it must leave something of "
                f"{key}.preferences.pairs = {pairs} to train on"
            )


def _check_alignments(key: str, section: Mapping[str, Any]) -> dict[str, Objective]:
    objectives = {}
    for name, alignment in section["alignment"]["objectives"].items():
        where = f"{key}.alignment.objectives.{name}"
        objectives[name] = _objective(where, name, alignment)
        _check_objective(where, alignment, section, objectives[name].data)
    if not any(alignment["anchors"] for alignment in section["alignment"]["objectives"].values()):
        raise ConfigError(
            f"{key}.alignment.objectives: all anchors are empty, so there is nothing for DeRa to start from"
        )
    return objectives


def _check_objective(
    key: str, section: Mapping[str, Any], task: Mapping[str, Any], data: str
) -> None:
    for name in ("anchors", "default_beta"):
        values = section.get(name, [])
        for anchor in values if isinstance(values, list) else [values]:
            allowed = section["betas"] if name == "anchors" else section["anchors"]
            if Fraction(str(anchor)) not in [Fraction(str(beta)) for beta in allowed]:
                source = f"{key}.{'betas' if name == 'anchors' else 'anchors'} = {allowed}"
                raise ConfigError(
                    f"{key}.{name} = {anchor}: must be one of {source}, because DeRa starts from a trained adapter"
                )
    if data == "prompts":
        for name in ("samples_per_prompt", "updates_per_sample"):
            if name not in section:
                raise ConfigError(
                    f"{key}: {name!r} is a required property of an objective that samples"
                )
        if section["batch_size"] % section["samples_per_prompt"]:
            raise ConfigError(
                f"{key}.batch_size = {section['batch_size']}: must be a multiple of samples_per_prompt = {section['samples_per_prompt']}"
            )
    reward = section.get("reward", "gold")
    if data == "prompts" and reward == "labeller":
        raise ConfigError(
            f"{key}.reward = 'labeller': an objective that samples can maximise 'gold', 'learned' or measures of the task"
        )
    if data == "preferences" and isinstance(reward, Mapping):
        raise ConfigError(
            f"{key}.reward = {dict(reward)}: preference pairs teach what the labeller likes; allowed: 'gold', 'labeller'"
        )
    if data == "preferences" and reward == "learned":
        raise ConfigError(
            f"{key}.reward = 'learned': an objective that learns from preference pairs never sees the reward model"
        )
    if (data == "preferences" or reward == "learned") and "preferences" not in task:
        raise ConfigError(
            f"{key.split('.alignment')[0]}.preferences: missing, but {key} needs preference pairs"
        )
    if data == "preferences" and not pairs_are_sampled(task["preferences"]):
        raise ConfigError(
            f"{key}: learns from pairs of the reference's own completions, but {key.split('.alignment')[0]}.preferences.source = 'task'; allowed: 'reference'"
        )
    if reward == "learned" and "reward_model" not in task:
        raise ConfigError(
            f"{key.split('.alignment')[0]}.reward_model: missing, but {key}.reward is 'learned'"
        )
    if data == "preferences" and reward == "gold" and task["preferences"].get("length_bias"):
        raise ConfigError(
            f"{key}.reward = 'gold': the labeller has a length_bias, so what the pairs teach is 'labeller'"
        )


def _check_metrics(key: str, files: Sequence[str]) -> None:
    by_name: dict[str, str] = {}
    for file in files:
        name = Path(file).stem
        if not Path(file).is_file():
            raise ConfigError(f"{key} = {file!r}: there is no file {Path(file).absolute()}")
        if name in by_name:
            raise ConfigError(
                f"{key}: {by_name[name]!r} and {file!r} are both named {name!r}, and a metric's column has its file's name; rename one"
            )
        by_name[name] = file
        try:
            modules.require_class(file, "_compute")
        except modules.ModuleError as error:
            raise ConfigError(f"{key} = {file!r}: {error}") from error


def _check_comparators(
    key: str, section: Mapping[str, Any], task: str, evaluation: Mapping[str, Any]
) -> None:
    for i, share in enumerate(section.get("weights", [])):
        if share in (0, 1):
            raise ConfigError(
                f"{key}.weights[{i}] = {share}: must be neither 0 nor 1, which are the two models themselves"
            )
    samples = evaluation["reference_samples"]
    for i, n in enumerate(section.get("best_of", [])):
        if 2 * n > samples:
            raise ConfigError(
                f"{key}.best_of[{i}] = {n}: must be at most half of {task}.evaluation.reference_samples = {samples}, from which they are drawn"
            )


def _check_preferences(key: str, section: Mapping[str, Any], writes_pairs: bool) -> None:
    if not pairs_are_sampled(section):
        if not writes_pairs:
            raise ConfigError(
                f"{key}.source = 'task': this task writes no pairs (it has no method `pair`); allowed: 'reference'"
            )
        for name in ("sharpness", "length_bias"):
            if name in section:
                raise ConfigError(
                    f"{key}.{name} = {section[name]}: what the task writes needs no labeller; remove it"
                )
    elif "sharpness" not in section:
        raise ConfigError(
            f"{key}: 'sharpness' is a required property where the reference is the source"
        )
