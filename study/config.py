"""Checking a config before any job starts, and what follows from it: which betas, which lam.

Strengths are compared as fractions of what was written (`0.1 / 0.3` is not a number to compare with).
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import yaml

import tasks as task_modules
from study import modules, several

CORPUS_VARIABLE = "DERA_CORPUS"
SCHEMA = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"


class ConfigError(ValueError):
    """A config that cannot be run; the message names the key, the value and what is allowed."""


@dataclass(frozen=True)
class Objective:
    """What an alignment is made with: its module, as `study.modules.load` takes it, and what that declares."""

    module: str
    data: str
    optimum: str


@dataclass(frozen=True)
class Checked:
    """What a config that passed its checks means.

    `corpora` has for each task the corpora it works on ("any", or its "own" alone), `task_modules` and `objectives` (by task and alignment)
    their modules, `corpus_files` the file of each split a task reads.
    """

    task_modules: dict[str, str]
    corpora: dict[str, str]
    objectives: dict[str, dict[str, Objective]]
    corpus_files: dict[str, dict[str, str]] = field(default_factory=dict)

    def plugins(self) -> list[str]:
        """Files of objectives that are not this project's own."""
        used = {objective.module for found in self.objectives.values() for objective in found.values()}
        return sorted(module for module in used if module.endswith(".py"))


def check(config: Mapping[str, Any]) -> Checked:
    """Check a config, as read from YAML, and say what it means; files of the user's own are looked at, their objectives not imported.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    _check_schema(config)
    found = Checked({}, {}, {})
    for name, section in config["tasks"].items():
        key = f"tasks.{name}"
        found.task_modules[name], found.corpora[name] = _task_module(key, name, section)
        if section["corpus"]["kind"] != "made_world" and found.corpora[name] != "any":
            raise ConfigError(
                f"{key}.corpus.kind = {section['corpus']['kind']!r}: {name} draws its own documents; only 'made_world' is allowed"
            )
        try:
            task = task_modules.create(name, section["settings"], section.get("module"))
        except task_modules.TaskError as error:
            raise ConfigError(str(error)) from error
        if "preferences" in section:
            _check_preferences(f"{key}.preferences", section["preferences"], writes_pairs=hasattr(task, "pair"))
        _check_metrics(f"{key}.metrics", section.get("metrics", []))
        found.objectives[name] = _check_task(key, section)
    return found


def _task_module(key: str, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
    where, value = (f"{key}.module", section["module"]) if "module" in section else ("tasks", name)
    try:
        module = modules.find("tasks", value)
        modules.require_function(module, "create")
        return module, modules.constant(module, "CORPUS", ("any", "own"))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _objective(key: str, name: str, section: Mapping[str, Any]) -> Objective:
    where, value = (f"{key}.objective", section["objective"]) if "objective" in section else (key.rpartition(".")[0], name)
    try:
        module = modules.find("training.objectives", value)
        modules.require_function(module, "make_trainer")
        data = modules.constant(module, "DATA", ("prompts", "preferences"))
        return Objective(module, data, modules.constant(module, "OPTIMUM", ("known", "unknown")))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _check_task(key: str, section: Mapping[str, Any]) -> dict[str, Objective]:
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
    _check_comparators(f"{key}.dera.comparators", section["dera"].get("comparators", {}), key, section["evaluation"])
    objectives = {}
    for name, alignment in section["alignment"]["objectives"].items():
        where = f"{key}.alignment.objectives.{name}"
        objectives[name] = _objective(where, name, alignment)
        _check_objective(where, alignment, section, objectives[name].data)
    if not any(alignment["anchors"] for alignment in section["alignment"]["objectives"].values()):
        raise ConfigError(f"{key}.alignment.objectives: all anchors are empty, so there is nothing for DeRa to start from")
    if "several" in section:
        try:
            several.check(key, section)
        except several.SeveralError as error:
            raise ConfigError(str(error)) from error
    return objectives


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


def _check_comparators(key: str, section: Mapping[str, Any], task: str, evaluation: Mapping[str, Any]) -> None:
    for i, share in enumerate(section.get("weights", [])):
        if share in (0, 1):
            raise ConfigError(f"{key}.weights[{i}] = {share}: must be neither 0 nor 1, which are the two models themselves")
    samples = evaluation["reference_samples"]
    for i, n in enumerate(section.get("best_of", [])):
        if 2 * n > samples:
            raise ConfigError(
                f"{key}.best_of[{i}] = {n}: must be at most half of {task}.evaluation.reference_samples = {samples}, from which they are drawn"
            )


def _check_preferences(key: str, section: Mapping[str, Any], writes_pairs: bool) -> None:
    if not pairs_are_sampled(section):
        if not writes_pairs:
            raise ConfigError(f"{key}.source = 'task': this task writes no pairs (it has no method `pair`); allowed: 'reference'")
        for name in ("sharpness", "length_bias"):
            if name in section:
                raise ConfigError(f"{key}.{name} = {section[name]}: what the task writes needs no labeller; remove it")
    elif "sharpness" not in section:
        raise ConfigError(f"{key}: 'sharpness' is a required property where the reference is the source")


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
            raise ConfigError(f"{key}.files.{split} = {corpus['files'][split]!r}: {path} does not exist")
    return {split: str(path) for split, path in paths.items()}


def _check_schema(config: Mapping[str, Any]) -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    for where, value in _numbers("", config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where} = {value}: must be a finite number")
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if error is None:
        return
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    if error.validator == "additionalProperties":
        allowed = ", ".join(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in error.schema.get("properties", {}))
        raise ConfigError(
            f"{where + '.' if where else ''}{unknown} = {error.instance[unknown]!r}: unknown key; allowed here: {allowed}"
        )
    if error.validator == "required":
        raise ConfigError(f"{where or 'config'}: {error.message}")
    raise ConfigError(f"{where} = {error.instance!r}: {_allowed(error)}")


def _allowed(error: jsonschema.ValidationError) -> str:
    rule = error.validator_value
    return {
        "type": f"must be of type {rule}",
        "exclusiveMinimum": f"must be a number greater than {rule}",
        "exclusiveMaximum": f"must be a number less than {rule}",
        "minimum": f"must be at least {rule}",
        "maximum": f"must be at most {rule}",
        "enum": f"must be one of {rule}",
        "minItems": "must not be empty" if rule == 1 else f"must have at least {rule} items",
        "maxItems": f"must have at most {rule} items",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name a value twice",
    }.get(str(error.validator), error.message)


def _numbers(where: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _numbers(f"{where}.{key}".lstrip("."), item)]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in _numbers(f"{where}[{i}]", item)]
    return [(where, value)]


def _check_objective(key: str, section: Mapping[str, Any], task: Mapping[str, Any], data: str) -> None:
    for name in ("anchors", "grid_anchor"):
        values = section.get(name, [])
        for anchor in values if isinstance(values, list) else [values]:
            allowed = section["betas"] if name == "anchors" else section["anchors"]
            if Fraction(str(anchor)) not in [Fraction(str(beta)) for beta in allowed]:
                source = f"{key}.{'betas' if name == 'anchors' else 'anchors'} = {allowed}"
                raise ConfigError(f"{key}.{name} = {anchor}: must be one of {source}, because DeRa starts from a trained adapter")
    if data == "prompts":
        for name in ("samples_per_prompt", "updates_per_sample"):
            if name not in section:
                raise ConfigError(f"{key}: {name!r} is a required property of an objective that samples")
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
        raise ConfigError(f"{key}.reward = 'learned': an objective that learns from preference pairs never sees the reward model")
    if (data == "preferences" or reward == "learned") and "preferences" not in task:
        raise ConfigError(f"{key.split('.alignment')[0]}.preferences: missing, but {key} needs preference pairs")
    if data == "preferences" and not pairs_are_sampled(task["preferences"]):
        raise ConfigError(
            f"{key}: learns from pairs of the reference's own completions, but {key.split('.alignment')[0]}.preferences.source = 'task'; allowed: 'reference'"
        )
    if reward == "learned" and "reward_model" not in task:
        raise ConfigError(f"{key.split('.alignment')[0]}.reward_model: missing, but {key}.reward is 'learned'")
    if data == "preferences" and reward == "gold" and task["preferences"].get("length_bias"):
        raise ConfigError(f"{key}.reward = 'gold': the labeller has a length_bias, so what the pairs teach is 'labeller'")


def pairs_are_sampled(preferences: Mapping[str, Any]) -> bool:
    """Whether a `preferences` section has pairs sampled from the reference and labelled, not written by the task."""
    return bool(preferences.get("source", "reference") == "reference")


def label(strength: Any) -> str:
    """How a strength is written in file names and tables: as a decimal, without needless zeros."""
    return format(Decimal(str(strength)).normalize(), "f")


def lams(task: Mapping[str, Any], objective: str, anchor: str) -> list[Fraction]:
    """The mixing weights one anchor decodes: those matching every trained beta, and the fine grid if it is the grid's anchor."""
    section = task["alignment"]["objectives"][objective]
    wanted = {Fraction(anchor) / Fraction(label(beta)) for beta in section["betas"]}
    if "grid_anchor" in section and label(section["grid_anchor"]) == anchor:
        wanted |= {Fraction(label(lam)) for lam in task["dera"]["lams"]}
    return sorted(wanted)


def decoded_comparators(task: Mapping[str, Any]) -> dict[str, Any]:
    """The comparators that must be decoded; the best of n needs the reference's completions alone."""
    return {name: knobs for name, knobs in task["dera"].get("comparators", {}).items() if name != "best_of"}


def seeds(task: Mapping[str, Any], objective: str) -> list[int]:
    """Seeds of one objective: its own, or the task's."""
    alignment = task["alignment"]
    return list(alignment["objectives"][objective].get("seeds", alignment["seeds"]))


def trainer_settings(task: Mapping[str, Any], objective: str) -> dict[str, Any]:
    """An objective's section without its lists of strengths: another beta must not make the trained ones run again."""
    section = task["alignment"]["objectives"][objective]
    return {
        key: value for key, value in section.items() if key not in ("betas", "anchors", "grid_anchor", "seeds", "reward_margin")
    }


def digest(*texts: str) -> str:
    """A short name for what a job was asked to do."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def check_or_exit(config: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Checked:
    """`check`, and the `corpus_files` of each task, with one line on standard error and exit status 1 instead of a traceback.

    `files` are those the config was read from, which must name no key twice.
    """
    try:
        for path in files:
            refuse_repeated_keys(Path(path))
        found = check(config)
        for name, task in config["tasks"].items():
            found.corpus_files[name] = corpus_files(f"tasks.{name}.corpus", task["corpus"])
        return found
    except ConfigError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)


def refuse_repeated_keys(path: Path) -> None:
    """Of two sections of one name YAML keeps the last and says nothing.

    Raises:
        ConfigError: naming the key, and the lines where it stands.
    """
    waiting = [(yaml.compose(path.read_text()), "")]
    while waiting:
        node, where = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{where}[{i}]") for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{where}.{key.value}".lstrip("."), key.start_mark.line + 1
            if name in lines:
                raise ConfigError(f"{name}: there are two of this name in {path}, lines {lines[name]} and {line}; rename one")
            lines[name] = line
            waiting.append((value, name))
