"""Check that the measures which a task's section names are those of the task.

Otherwise a training that takes hours would end with a reward or a threshold that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.schema import ConfigError

#: A measure that every reference has, beside those of its task (training/learnt.py).
FINISHED = "finished"


def check_measures(key: str, section: Mapping[str, Any], measures: set[str] | None) -> None:
    """Check the rewards of a task's objectives, and what its reference must have learnt.

    Args:
        key: where the task's section stands in the config.
        section: the section, which has passed the schema.
        measures: the names of the task's measures; None where the task does not say them without
            completions, and the jobs find out.

    Raises:
        ConfigError: naming the first measure that does not exist, or a reward that is always 0.
    """
    for name, objective in section["alignment"]["objectives"].items():
        reward = objective.get("reward")
        if not isinstance(reward, Mapping):
            continue
        where = f"{key}.alignment.objectives.{name}.reward"
        _check_names(where, reward, measures)
        if not any(reward.values()):
            raise ConfigError(f"{where} = {dict(reward)}: every weight is 0, so it teaches nothing")
    if isinstance(section["sft"], Mapping):
        known = None if measures is None else measures | {FINISHED}
        _check_names(f"{key}.sft.minimum", section["sft"]["minimum"], known)


def _check_names(where: str, named: Mapping[str, Any], measures: set[str] | None) -> None:
    """Check that each name is a text, and one of the measures where these are known."""
    for name, value in named.items():
        if not isinstance(name, str) or (measures is not None and name not in measures):
            allowed = ", ".join(sorted(measures)) if measures else "the measures of the task"
            raise ConfigError(
                f"{where}.{name} = {value}: the task has no such measure; allowed: {allowed}"
            )
