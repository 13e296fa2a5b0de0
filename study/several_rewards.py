"""The section `several` of a task: DeRa over two aligned models of rewards of their own, against models trained on weighted sums of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from study.schema import ConfigError

ENDS = (
    [1, 0],
    [0, 1],
    [0, 0],
)  # decoded whatever the section says: each part alone, and the reference


def lams(section: Mapping[str, Any]) -> list[list[Any]]:
    """The pairs of mixing weights that DeRa decodes: one for each joint model, the ends, and those beyond."""
    return [*section["joint"].values(), *ENDS, *section.get("beyond", [])]


def check(key: str, task: Mapping[str, Any]) -> None:
    """Check the section of a task that stands at `key` in the config and has passed the schema.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    section, objectives = task["several_rewards"], task["alignment"]["objectives"]
    here, there = f"{key}.several_rewards", f"{key}.alignment.objectives"
    named = {f"{here}.parts[{i}]": name for i, name in enumerate(section["parts"])} | {
        f"{here}.joint": n for n in section["joint"]
    }
    for where, name in named.items():
        if name not in objectives:
            raise ConfigError(
                f"{where} = {name!r}: there is no such alignment; allowed: {', '.join(objectives)}"
            )
    first, second = section["parts"]
    for i, name in enumerate(section["parts"]):
        part = objectives[name]
        if not isinstance(part.get("reward"), Mapping):
            raise ConfigError(
                f"{here}.parts[{i}] = {name!r}: its reward is {part.get('reward', 'gold')!r}, which nothing can be added to; name an "
                "alignment whose reward is a mapping of measures to weights"
            )
        if len(part["anchors"]) != 1:
            raise ConfigError(
                f"{there}.{name}.anchors = {part['anchors']}: must be one anchor, because {here}.parts names it"
            )
    for name, what in (("anchors", "anchor"), ("seeds", "seeds")):
        one, other = (
            objectives[part].get(name, task["alignment"]["seeds"]) for part in (first, second)
        )
        if _exact(one) != _exact(other):
            raise ConfigError(
                f"{there}.{second}.{name} = {other}: must be {one}, the {what} of {first}, which it is mixed with"
            )
    for name, weights in section["joint"].items():
        _check_joint(
            f"{here}.joint.{name}",
            f"{there}.{name}",
            objectives[name],
            weights,
            {p: objectives[p] for p in section["parts"]},
        )
    _check_twice(here, section)


def _check_joint(
    key: str,
    where: str,
    joint: Mapping[str, Any],
    weights: Sequence[Any],
    parts: Mapping[str, Mapping[str, Any]],
) -> None:
    if sum(_exact(weights)) != 1:
        raise ConfigError(
            f"{key} = {weights}: must sum to 1, or the joint model has another strength than the parts"
        )
    if joint["anchors"]:
        raise ConfigError(
            f"{where}.anchors = {joint['anchors']}: must be [], because {key} names it to be compared with"
        )
    (anchor,) = next(iter(parts.values()))["anchors"]
    if Fraction(str(anchor)) not in _exact(joint["betas"]):
        raise ConfigError(
            f"{where}.betas = {joint['betas']}: must have {anchor}, the anchor of {' and '.join(parts)}"
        )
    wanted = _sum([part["reward"] for part in parts.values()], weights)
    reward = joint.get("reward", "gold")
    if not isinstance(reward, Mapping) or _sum([reward], [1]) != wanted:
        written = {measure: float(weight) for measure, weight in wanted.items()}
        raise ConfigError(
            f"{where}.reward = {dict(reward) if isinstance(reward, Mapping) else reward!r}: must be {written}, the sum of the rewards of "
            f"{' and '.join(parts)} weighted by {key} = {list(weights)}"
        )


def _check_twice(key: str, section: Mapping[str, Any]) -> None:
    """Where a pair stands again it would be decoded twice, and tables could not tell the two apart."""
    seen = [_exact(pair) for pair in ENDS]
    for where, pairs in (
        ("joint", section["joint"].items()),
        ("beyond", enumerate(section.get("beyond", []))),
    ):
        for name, pair in pairs:
            if _exact(pair) in seen:
                place = f"joint.{name}" if where == "joint" else f"beyond[{name}]"
                raise ConfigError(
                    f"{key}.{place} = {pair}: is decoded already, as an end, for a joint model or as another one beyond; remove it"
                )
            seen.append(_exact(pair))


def _sum(rewards: Sequence[Mapping[str, Any]], weights: Sequence[Any]) -> dict[str, Fraction]:
    """The weighted sum of rewards, measures without weight left out."""
    total: dict[str, Fraction] = {}
    for reward, weight in zip(rewards, _exact(weights), strict=True):
        for measure, value in reward.items():
            total[measure] = total.get(measure, Fraction(0)) + weight * Fraction(str(value))
    return {measure: value for measure, value in total.items() if value}


def _exact(values: Sequence[Any]) -> list[Fraction]:
    """Numbers as fractions of what was written."""
    return [Fraction(str(value)) for value in values]
