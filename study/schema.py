"""Check a config against its schema, config/schema.yaml.

Messages name the key, the value and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCHEMA = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"


class ConfigError(ValueError):
    """A config that cannot be run. The message names the key, the value and what is allowed."""


def check(config: Mapping[str, Any]) -> None:
    """Check a config, as read from YAML.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    for key, value in _values("", config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} = {value}: must be a finite number")
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    refuse(jsonschema.Draft202012Validator(schema), config, "")


def refuse(validator: jsonschema.Draft202012Validator, value: Any, key: str) -> None:
    """Check a value that stands at `key` of a config (the empty key is the config itself).

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    if error is None:
        return
    key = _key_of(key, error)
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        unknown = next(name for name in error.instance if name not in allowed)
        prefix = f"{key}." if key else ""
        raise ConfigError(
            f"{prefix}{unknown} = {error.instance[unknown]!r}: unknown key; "
            f"allowed here: {', '.join(allowed)}"
        )
    if error.validator == "required":
        raise ConfigError(f"{key or 'config'}: {error.message}")
    raise ConfigError(f"{key} = {error.instance!r}: {_allowed(error)}")


def refuse_repeated_keys(path: Path) -> None:
    """Refuse a YAML file where a key stands twice: YAML would keep the last and say nothing.

    Raises:
        ConfigError: naming the key, and the lines where it stands.
    """
    waiting = [(yaml.compose(path.read_text(encoding="utf-8")), "")]
    while waiting:
        node, key = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{key}[{i}]") for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            waiting += _entries(path, node, key)


def _entries(path: Path, node: yaml.MappingNode, key: str) -> list[tuple[yaml.Node, str]]:
    """The values of a mapping, each with its key; two entries of one name are refused."""
    entries = []
    lines: dict[str, int] = {}
    for name_node, value in node.value:
        name = f"{key}.{name_node.value}".lstrip(".")
        line = name_node.start_mark.line + 1
        if name in lines:
            raise ConfigError(
                f"{name}: there are two of this name in {path}, lines {lines[name]} and {line}; "
                "rename one"
            )
        lines[name] = line
        entries.append((value, name))
    return entries


def _key_of(key: str, error: jsonschema.ValidationError) -> str:
    """Where an error stands, such as `tasks.length.alignment.seeds[0]`."""
    for step in error.absolute_path:
        key += f"[{step}]" if isinstance(step, int) else f".{step}"
    return key.lstrip(".")


def _allowed(error: jsonschema.ValidationError) -> str:
    """What the broken rule asks for, in words."""
    rule = error.validator_value
    return {
        "type": f"must be of type {rule}",
        "exclusiveMinimum": f"must be a number greater than {rule}",
        "exclusiveMaximum": f"must be a number less than {rule}",
        "minimum": f"must be at least {rule}",
        "maximum": f"must be at most {rule}",
        "enum": f"must be one of {rule}",
        "not": f"must be none of {_excluded(rule)}",
        "minItems": "must not be empty" if rule == 1 else f"must have at least {rule} items",
        "maxItems": f"must have at most {rule} items",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name a value twice",
    }.get(str(error.validator), error.message)


def _excluded(rule: Any) -> Any:
    """The values that a rule `not: {enum: [...]}` excludes."""
    return rule.get("enum", rule) if isinstance(rule, Mapping) else rule


def _values(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a config that is neither a section nor a list, with its key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _values(f"{key}.{name}".lstrip("."), item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _values(f"{key}[{i}]", item)
    else:
        yield key, value
