"""A config against its schema, config/schema.yaml, with messages that name the key, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCHEMA = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"


class ConfigError(ValueError):
    """A config that cannot be run; the message names the key, the value and what is allowed."""


def check(config: Mapping[str, Any]) -> None:
    """Check a config, as read from YAML.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    schema = yaml.safe_load(SCHEMA.read_text())
    for where, value in _numbers("", config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where} = {value}: must be a finite number")
    error = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema).iter_errors(config)
    )
    if error is None:
        return
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    if error.validator == "additionalProperties":
        allowed = ", ".join(error.schema.get("properties", {}))
        unknown = next(
            key for key in error.instance if key not in error.schema.get("properties", {})
        )
        raise ConfigError(
            f"{where + '.' if where else ''}{unknown} = {error.instance[unknown]!r}: unknown key; allowed here: {allowed}"
        )
    if error.validator == "required":
        raise ConfigError(f"{where or 'config'}: {error.message}")
    raise ConfigError(f"{where} = {error.instance!r}: {_allowed(error)}")


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
                raise ConfigError(
                    f"{name}: there are two of this name in {path}, lines {lines[name]} and {line}; rename one"
                )
            lines[name] = line
            waiting.append((value, name))


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
        return [
            pair
            for key, item in value.items()
            for pair in _numbers(f"{where}.{key}".lstrip("."), item)
        ]
    if isinstance(value, list):
        return [pair for i, item in enumerate(value) for pair in _numbers(f"{where}[{i}]", item)]
    return [(where, value)]
