"""Check a config against its schema, config/schema.yaml.

Messages name the key, the value and what is allowed.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCHEMA = Path(__file__).resolve().parent.parent / "config" / "schema.yaml"

#: A config has at most so many values and is nested at most so deep. YAML lets a few lines stand
#: for more than a memory holds, and a list contain itself.
MOST_VALUES = 20_000
DEEPEST = 20
#: No number of a config is larger than this. Seeds are the largest that make sense.
LARGEST = 2**32
#: No number of a config but 0 is smaller than this in size.
SMALLEST = 1e-9
#: How a whole number is written. YAML reads 010 as 8, 1_0 as 10 and 1:30 as 90.
PLAIN_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")


class ConfigError(ValueError):
    """A config that cannot be run. The message names the key, the value and what is allowed."""


def _is_integer(_: Any, value: Any) -> bool:
    """Whether a value is an integer; JSON schema would let 200.0 pass, which Python does not."""
    return isinstance(value, int) and not isinstance(value, bool)


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def check(config: Mapping[str, Any]) -> None:
    """Check a config, as read from YAML.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    for key, value in _values(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key} = {value}: must be a finite number")
        if isinstance(value, int | float) and abs(value) > LARGEST:
            raise ConfigError(f"{key} = {value}: must be at most {LARGEST} in size")
        if isinstance(value, float) and 0 < abs(value) < SMALLEST:
            raise ConfigError(f"{key} = {value}: must be 0, or at least {SMALLEST:g} in size")
    refuse(_whole(), config, "")


@functools.cache
def _whole() -> Any:
    """What checks a whole config. Reading the schema takes longer than checking a config."""
    return Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


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


def check_file(path: Path) -> None:
    """Refuse what YAML would read and say nothing: a key that stands twice, and numbers like 010.

    Of a key that stands twice it keeps the last, 010 is 8, and 1:30.5 is 90.5.

    Raises:
        ConfigError: naming the key and the lines.
    """
    root = yaml.compose(path.read_text(encoding="utf-8"))
    waiting = [] if root is None else [(root, "")]
    seen: set[int] = set()  # an alias is the node that it stands for
    while waiting:
        node, key = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if _is_read_otherwise(node):
            line = node.start_mark.line + 1
            raise ConfigError(
                f"{key} = {node.value}: YAML reads this as {yaml.safe_load(node.value)} ({path}, "
                f"line {line}); write the number in plain digits"
            )
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{key}[{i}]") for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            waiting += _entries(path, node, key)


def _is_read_otherwise(node: yaml.Node) -> bool:
    """Whether YAML reads a number otherwise than a person does."""
    if node.tag == "tag:yaml.org,2002:int":
        return not PLAIN_INTEGER.fullmatch(node.value)
    return node.tag == "tag:yaml.org,2002:float" and (":" in node.value or "_" in node.value)


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
    if error.validator == "pattern" and "description" in error.schema:
        return f"must be {error.schema['description']}"
    return {
        "type": f"must be of type {rule}",
        "exclusiveMinimum": f"must be a number greater than {rule}",
        "exclusiveMaximum": f"must be a number less than {rule}",
        "minimum": f"must be at least {rule}",
        "maximum": f"must be at most {rule}",
        "enum": f"must be one of {rule}",
        "const": f"must be {rule!r}",
        "not": f"must be none of {_excluded(rule)}",
        "minItems": "must not be empty" if rule == 1 else f"must have at least {rule} items",
        "maxItems": f"must have at most {rule} items",
        "minLength": "must not be empty",
        "maxLength": f"must have at most {rule} characters",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name a value twice",
    }.get(str(error.validator), error.message)


def _excluded(rule: Any) -> Any:
    """The values that a rule `not: {enum: [...]}` excludes."""
    return rule.get("enum", rule) if isinstance(rule, Mapping) else rule


def _values(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of a config that is neither a section nor a list, with its key.

    Raises:
        ConfigError: if there are more values than a config can need, or they are nested deeper.
    """
    count = 0
    waiting: list[tuple[str, Any, int]] = [("", config, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST:
            raise ConfigError(
                f"{key}: is nested more than {DEEPEST} deep; a YAML alias must not contain itself"
            )
        if count > MOST_VALUES:
            raise ConfigError(
                f"{key}: the config has more than {MOST_VALUES} values; "
                "YAML aliases that contain aliases multiply"
            )
        if isinstance(value, Mapping):
            items = [(f"{key}.{name}".lstrip("."), item) for name, item in value.items()]
        elif isinstance(value, list):
            items = [(f"{key}[{i}]", item) for i, item in enumerate(value)]
        else:
            yield key, value
            continue
        waiting += [(name, item, depth + 1) for name, item in reversed(items)]
