"""Check what a schema cannot say about the objectives of a task: do their keys fit?."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from study import loaded, modules, names
from study.schema import ConfigError
from study.strengths import all_exact, exact


@dataclass(frozen=True)
class Declared:
    """The module that an objective is made with, and what the module declares.

    Attributes:
        module: as `study.modules.load` takes it.
        data: what the objective learns from, "prompts" or "preferences", or "nothing" where its
            models are loaded.
        optimum: "known" where the solution of the objective is known in closed form, otherwise
            "unknown". It is unknown for pairs of the user's own, whoever labelled them.
    """

    module: str
    data: str
    optimum: str


def check(key: str, task: Mapping[str, Any]) -> dict[str, Declared]:
    """Check the objectives of the task whose section stands at `key` and has passed the schema.

    Returns:
        The module of each objective of the config, and what the module declares.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    sections = task["alignment"]["objectives"]
    where = f"{key}.alignment.objectives"
    names.check_all(where, sections, "objective")
    declared = {}
    for name, section in sections.items():
        _check_strengths(f"{where}.{name}", section)
        if loaded.is_loaded(section):
            loaded.check(f"{where}.{name}", key, section, task)
            declared[name] = Declared(loaded.MODULE, loaded.DATA, "unknown")
            continue
        if "lora" not in task:
            raise ConfigError(
                f"{key}: 'lora' is a required property, because {where}.{name} trains an adapter"
            )
        declared[name] = _declared(f"{where}.{name}", name, section)
        if _learns_from_files(declared[name].data, task):
            declared[name] = replace(declared[name], optimum="unknown")
        _check_sampling(f"{where}.{name}", section, declared[name].data)
        _check_reward(key, f"{where}.{name}", section, task, declared[name].data)
    if not any(section["anchors"] for section in sections.values()):
        raise ConfigError(
            f"{where}: all anchors are empty, so there is nothing for DeRa to start from; "
            "give one objective an anchor out of its betas"
        )
    _check_main_objective(f"{key}.alignment.main_objective", task["alignment"])
    return declared


def pairs_are_sampled(preferences: Mapping[str, Any]) -> bool:
    """Whether preference pairs are sampled from the reference, and not written by others."""
    return bool(preferences.get("source", "reference") == "reference")


def pairs_are_of_files(preferences: Mapping[str, Any]) -> bool:
    """Whether preference pairs are the user's own."""
    return bool(preferences.get("source") == "files")


def _learns_from_files(data: str, task: Mapping[str, Any]) -> bool:
    """Whether an objective learns from pairs of the user's own."""
    return data == "preferences" and pairs_are_of_files(task.get("preferences", {}))


def _declared(key: str, name: str, section: Mapping[str, Any]) -> Declared:
    """Find the module of an objective and read what it declares."""
    if "objective" in section:
        where, value = f"{key}.objective", section["objective"]
    else:
        where, value = key.rpartition(".")[0], name
    try:
        module = modules.find("training.objectives", value)
        modules.require_function(module, "make_trainer")
        data = modules.constant(module, "DATA", ("prompts", "preferences"))
        optimum = modules.constant(module, "OPTIMUM", ("known", "unknown"))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error
    return Declared(module, data, optimum)


def _check_strengths(key: str, section: Mapping[str, Any]) -> None:
    """Check that every anchor is trained, and that the default strength is an anchor."""
    betas = section["betas"]
    for anchor in section["anchors"]:
        if exact(anchor) not in all_exact(betas):
            raise ConfigError(
                f"{key}.anchors = {anchor}: must be one of {key}.betas = {betas}, "
                "because DeRa starts from a trained model"
            )
    anchors = section["anchors"]
    if "default_beta" in section:
        default = section["default_beta"]
        if exact(default) not in all_exact(anchors):
            raise ConfigError(
                f"{key}.default_beta = {default}: must be one of {key}.anchors = {anchors}, "
                "because DeRa starts from a trained model"
            )
    elif len(anchors) > 1:
        raise ConfigError(
            f"{key}.default_beta: missing, but there are {len(anchors)} anchors; "
            f"name the default strength, one of {anchors}"
        )


def _check_sampling(key: str, section: Mapping[str, Any], data: str) -> None:
    """Check that an objective that samples says how, and that groups of samples fill a batch."""
    if data != "prompts":
        return
    for name in ("samples_per_prompt", "updates_per_sample"):
        if name not in section:
            raise ConfigError(
                f"{key}: {name!r} is a required property of an objective that samples"
            )
    if section["batch_size"] % section["samples_per_prompt"]:
        raise ConfigError(
            f"{key}.batch_size = {section['batch_size']}: must be a multiple of "
            f"samples_per_prompt = {section['samples_per_prompt']}"
        )


def _check_reward(
    task_key: str, key: str, section: Mapping[str, Any], task: Mapping[str, Any], data: str
) -> None:
    """Check that an objective's data can teach it what it is to maximise."""
    # The reward must be of a kind that the data can teach.
    reward = section.get("reward", "gold")
    if data == "prompts" and reward == "labeller":
        raise ConfigError(
            f"{key}.reward = 'labeller': an objective that samples can maximise 'gold', "
            "'learned' or measures of the task"
        )
    if data == "preferences" and isinstance(reward, Mapping):
        raise ConfigError(
            f"{key}.reward = {dict(reward)}: preference pairs teach what the labeller likes; "
            "allowed: 'gold', 'labeller'"
        )
    if data == "preferences" and reward == "learned":
        raise ConfigError(
            f"{key}.reward = 'learned': an objective that learns from preference pairs never sees "
            "the reward model; allowed: 'gold', 'labeller'"
        )

    # The task must have the pairs or the reward model that the objective needs.
    if (data == "preferences" or reward == "learned") and "preferences" not in task:
        raise ConfigError(f"{task_key}.preferences: missing, but {key} needs preference pairs")
    if data == "preferences" and task["preferences"].get("source") == "task":
        raise ConfigError(
            f"{key}: learns from pairs of the reference's own completions or of the user's, but "
            f"{task_key}.preferences.source = 'task'; allowed: 'reference', 'files'"
        )
    if reward == "labeller" and _learns_from_files(data, task):
        raise ConfigError(
            f"{key}.reward = 'labeller': pairs of {task_key}.preferences.files were labelled by "
            "others, and nothing computes what they like; allowed: 'gold'"
        )
    if reward == "learned" and "reward_model" not in task:
        raise ConfigError(f"{task_key}.reward_model: missing, but {key}.reward is 'learned'")

    # Pairs of a labeller who is biased teach the labeller's taste, not gold.
    if data == "preferences" and reward == "gold" and task["preferences"].get("length_bias"):
        raise ConfigError(
            f"{key}.reward = 'gold': the labeller has a length_bias, so what the pairs teach is "
            "'labeller'"
        )


def _check_main_objective(key: str, alignment: Mapping[str, Any]) -> None:
    """Check that the main objective has an anchor, and is named where several have one."""
    with_anchors = [name for name, section in alignment["objectives"].items() if section["anchors"]]
    if "main_objective" not in alignment:
        if len(with_anchors) > 1:
            raise ConfigError(
                f"{key}: missing, but several objectives have anchors ({', '.join(with_anchors)}); "
                "name the one that baselines and identity checks start from"
            )
    elif alignment["main_objective"] not in with_anchors:
        raise ConfigError(
            f"{key} = {alignment['main_objective']!r}: must be an objective with an anchor; "
            f"allowed: {', '.join(with_anchors)}"
        )
