"""The baselines of a task: which files of eval/baselines/ a config asks for, and with which knobs.

Each file declares what its knob may be. The declarations are read without importing the file,
because importing torch takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study import modules, schema
from study.schema import ConfigError
from study.strengths import label

PACKAGE = "eval.baselines"


@dataclass(frozen=True)
class Baseline:
    """One baseline as the config asks for it.

    Attributes:
        name: the name of its file in eval/baselines/, without `.py`.
        kind: what tables call it.
        knobs: the values of its knob to decode or reweight at, as decimals.
        options: its further settings.
        decoded: False for a baseline that reweights the completions of the reference.
    """

    name: str
    kind: str
    knobs: tuple[str, ...]
    options: dict[str, Any]
    decoded: bool


def check(key: str, task: Mapping[str, Any]) -> dict[str, Baseline]:
    """Check the section `dera.baselines` of the task at `key`, and resolve it.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    where = f"{key}.dera.baselines"
    resolved = {}
    for name, value in task["dera"].get("baselines", {}).items():
        if name not in modules.names(PACKAGE):
            allowed = ", ".join(modules.names(PACKAGE))
            raise ConfigError(f"{where}.{name} = {value!r}: unknown key; allowed here: {allowed}")
        resolved[name] = _resolve(f"{where}.{name}", name, value)
        if not resolved[name].decoded:
            _check_samples(f"{where}.{name}", resolved[name], key, task["evaluation"])
    return resolved


def _resolve(key: str, name: str, value: Any) -> Baseline:
    """Check one baseline's knobs and options against what its file declares."""
    # What the value may be: a list of knobs, or a mapping with the knobs and all options.
    module = f"{PACKAGE}.{name}"
    options_schema = modules.literal(module, "OPTIONS")
    knobs_schema = {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": modules.literal(module, "KNOB_SCHEMA"),
    }
    if isinstance(value, Mapping):
        rules = {
            "type": "object",
            "additionalProperties": False,
            "required": ["knobs", *options_schema],
            "properties": {"knobs": knobs_schema, **options_schema},
        }
    else:
        rules = knobs_schema
        if options_schema:
            raise ConfigError(
                f"{key} = {value!r}: must be a mapping with the keys "
                f"{', '.join(['knobs', *options_schema])}"
            )
    schema.refuse(schema.Validator(rules), value, key)

    # From here on the value has the declared form.
    settings = dict(value) if isinstance(value, Mapping) else {"knobs": value}
    knobs = tuple(label(knob) for knob in settings.pop("knobs"))
    kind = modules.literal(module, "NAME")
    return Baseline(name, kind, knobs, settings, decoded=modules.literal(module, "DECODED"))


def _check_samples(
    key: str, baseline: Baseline, task_key: str, evaluation: Mapping[str, Any]
) -> None:
    """Check that the reference has at least 2n completions to take a best of n from."""
    samples = evaluation["reference_samples"]
    for i, knob in enumerate(baseline.knobs):
        if 2 * int(knob) > samples:
            raise ConfigError(
                f"{key}[{i}] = {knob}: must be at most half of "
                f"{task_key}.evaluation.reference_samples = {samples}, from which they are drawn"
            )
