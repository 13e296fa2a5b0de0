"""Checking a config before any job starts, and what follows from it: which betas, which lam.

Strengths are compared as fractions of what was written (`0.1 / 0.3` is not a number to compare with).
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Collection, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import yaml

CORPUS_VARIABLE = "DERA_CORPUS"
SCHEMA = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"


class ConfigError(ValueError):
    """A config that cannot be run; the message names the key, the value and what is allowed."""


def check(config: Mapping[str, Any], tasks: Collection[str], objectives: Mapping[str, str]) -> None:
    """Check a config.

    Args:
        config: as read from YAML.
        tasks: names of the tasks there are.
        objectives: for each objective there is, what it learns from ("prompts" or "preferences").

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    _check_schema(config)
    _one_of("task.name", config["task"]["name"], tasks)
    task, model = config["task"], config["model"]
    if task["min_tokens"] > task["max_tokens"]:
        raise ConfigError(f"task.min_tokens = {task['min_tokens']}: must be at most task.max_tokens = {task['max_tokens']}")
    if model["max_new_tokens"] <= task["max_tokens"]:
        raise ConfigError(
            f"model.max_new_tokens = {model['max_new_tokens']}: must be more than task.max_tokens = {task['max_tokens']}, "
            "or a summary that was cut off would be rewarded"
        )
    if model["hidden_size"] % model["heads"]:
        raise ConfigError(f"model.hidden_size = {model['hidden_size']}: must be a multiple of model.heads = {model['heads']}")
    documents = config["corpus"].get("documents")
    if documents and documents["test"] < config["evaluation"]["prompts"]:
        raise ConfigError(
            f"evaluation.prompts = {config['evaluation']['prompts']}: must be at most corpus.documents.test = {documents['test']}"
        )
    for name, section in config["alignment"]["objectives"].items():
        _one_of("alignment.objectives", name, objectives)
        _check_objective(f"alignment.objectives.{name}", section, config, objectives[name])


def corpus_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The file of each split a corpus of local files reads, in `corpus.folder` or the folder DERA_CORPUS names; none for the made world.

    Raises:
        ConfigError: if no folder is named, or one of the files does not exist.
    """
    corpus = config["corpus"]
    if corpus["kind"] != "local_files":
        return {}
    folder = corpus.get("folder") or os.environ.get(CORPUS_VARIABLE)
    if not folder:
        raise ConfigError(
            f"corpus.folder: not set; name the folder with your files in the config, or in the environment as {CORPUS_VARIABLE}=/path/to/files"
        )
    paths = {split: Path(folder) / name for split, name in corpus["files"].items()}
    for split, path in paths.items():
        if not path.is_file():
            raise ConfigError(f"corpus.files.{split} = {corpus['files'][split]!r}: {path} does not exist")
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
        "minimum": f"must be at least {rule}",
        "maximum": f"must be at most {rule}",
        "enum": f"must be one of {rule}",
        "minItems": f"must not be empty (at least {rule})",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name a value twice",
    }.get(str(error.validator), error.message)


def _numbers(where: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _numbers(f"{where}.{key}".lstrip("."), item)]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in _numbers(f"{where}[{i}]", item)]
    return [(where, value)]


def _one_of(key: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key} = {value!r}: there is no such module; allowed: {', '.join(sorted(allowed))}")


def _check_objective(key: str, section: Mapping[str, Any], config: Mapping[str, Any], data: str) -> None:
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
    if data == "preferences" and "preferences" not in config:
        raise ConfigError(f"preferences: missing, but {key} learns from preference pairs")


def label(strength: Any) -> str:
    """How a strength is written in file names and tables: as a decimal, without needless zeros."""
    return format(Decimal(str(strength)).normalize(), "f")


def lams(config: Mapping[str, Any], objective: str, anchor: str) -> list[Fraction]:
    """The mixing weights one anchor decodes: those matching every trained beta, and the fine grid if it is the grid's anchor."""
    section = config["alignment"]["objectives"][objective]
    wanted = {Fraction(anchor) / Fraction(label(beta)) for beta in section["betas"]}
    if "grid_anchor" in section and label(section["grid_anchor"]) == anchor:
        wanted |= {Fraction(label(lam)) for lam in config["dera"]["lams"]}
    return sorted(wanted)


def trainer_settings(config: Mapping[str, Any], objective: str) -> dict[str, Any]:
    """An objective's section without its lists of strengths: another beta must not make the trained ones run again."""
    section = config["alignment"]["objectives"][objective]
    return {key: value for key, value in section.items() if key not in ("betas", "anchors", "grid_anchor")}


def digest(*texts: str) -> str:
    """A short name for what a job was asked to do."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def check_or_exit(config: Mapping[str, Any], tasks: Collection[str], objectives: Mapping[str, str]) -> dict[str, str]:
    """`check` and `corpus_files`, with one line on standard error and exit status 1 instead of a traceback."""
    try:
        check(config, tasks, objectives)
        return corpus_files(config)
    except ConfigError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)
