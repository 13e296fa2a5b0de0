"""Check the section `dera.other_references` of a task.

The same aligned model is mixed with references that it was not aligned from, and the mixtures are
compared with DeRa from its own reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.schema import ConfigError

#: The reference that the model was aligned from.
OWN = "own"
#: The pretrained model that SFT made the own reference of.
PRETRAINED = "pretrained"
#: A reference that was trained as the own one, with another seed and on other demonstrations.
OTHER = "other"


def references(section: Mapping[str, Any]) -> list[str]:
    """The references that the aligned model of a task is mixed with, its own one first."""
    before_sft = [PRETRAINED] if "pretrained" in section["model"] else []
    trained = [OTHER] if section["dera"]["other_references"].get("train_another", True) else []
    return [OWN, *before_sft, *trained]


def check(key: str, task: Mapping[str, Any]) -> None:
    """Check the section of the task that stands at `key` in the config and has passed the schema.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    where = f"{key}.dera.other_references"
    section = task["dera"]["other_references"]

    # There is something to mix.
    if references(task) == [OWN]:
        raise ConfigError(
            f"{where}.train_another = False: leaves no other reference, because the model is not "
            f"pretrained; remove {where}.train_another, or {where}"
        )

    # Another reference of the same kind needs other demonstrations.
    if task["sft"] == "none":
        raise ConfigError(
            f"{where}: with {key}.sft = 'none' the reference is the pretrained model itself, and "
            f"there is no other of its kind; remove {where}"
        )
    kind = task["corpus"]["kind"]
    if OTHER in references(task) and "demonstrations" not in task and kind != "made_world":
        raise ConfigError(
            f"{where}: {key}.corpus.kind = {kind!r} has no other demonstrations than those that "
            f"the reference learns from; set {where}.train_another = false if the model is "
            f"pretrained, or remove {where}"
        )

    # The retrained models' completions that are read were drawn for the evaluation.
    for name in ("prompts", "samples"):
        most = task["evaluation"][name]
        if section.get(name, 1) > most:
            raise ConfigError(
                f"{where}.{name} = {section[name]}: must be at most {key}.evaluation.{name} = "
                f"{most}, because so many completions of the retrained models are there to be read"
            )
