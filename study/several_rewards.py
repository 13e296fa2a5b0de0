"""Check the section `several_rewards` of a task.

DeRa mixes two aligned models, each trained on a reward of its own. They are compared with models
that were trained on weighted sums of the two rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from study.schema import ConfigError
from study.strengths import all_exact, exact

#: Always decoded: each aligned model alone, and the reference.
ENDS = ([1, 0], [0, 1], [0, 0])


def lam_pairs(section: Mapping[str, Any]) -> list[list[Any]]:
    """The pairs of mixing weights to decode: for each joint model, at the ends, and beyond them."""
    return [*section["joint"].values(), *ENDS, *section.get("beyond", [])]


def check(key: str, task: Mapping[str, Any]) -> None:
    """Check the section of the task that stands at `key` in the config and has passed the schema.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    section = task["several_rewards"]
    objectives = task["alignment"]["objectives"]
    own_key = f"{key}.several_rewards"
    objectives_key = f"{key}.alignment.objectives"
    _check_objectives_exist(own_key, section, objectives)
    for i, name in enumerate(section["objectives"]):
        objective_key = f"{objectives_key}.{name}"
        _check_mixed(f"{own_key}.objectives[{i}]", objective_key, name, objectives[name])
    _check_alike(objectives_key, section["objectives"], objectives, task["alignment"]["seeds"])
    mixed = {name: objectives[name] for name in section["objectives"]}
    for name, weights in section["joint"].items():
        objective_key = f"{objectives_key}.{name}"
        _check_joint(f"{own_key}.joint.{name}", objective_key, objectives[name], weights, mixed)
    _check_decoded_once(own_key, section)


def _check_objectives_exist(
    key: str, section: Mapping[str, Any], objectives: Mapping[str, Any]
) -> None:
    named = {f"{key}.objectives[{i}]": name for i, name in enumerate(section["objectives"])}
    named_joint = [(f"{key}.joint", name) for name in section["joint"]]
    for where, name in [*named.items(), *named_joint]:
        if name not in objectives:
            raise ConfigError(
                f"{where} = {name!r}: there is no such objective; allowed: {', '.join(objectives)}"
            )


def _check_mixed(where: str, there: str, name: str, objective: Mapping[str, Any]) -> None:
    """Check that an objective that is mixed has a reward that can be weighted, and one anchor."""
    if not isinstance(objective.get("reward"), Mapping):
        raise ConfigError(
            f"{where} = {name!r}: its reward is {objective.get('reward', 'gold')!r}, which nothing "
            "can be added to; name an objective whose reward is a mapping of measures to weights"
        )
    if len(objective["anchors"]) != 1:
        raise ConfigError(
            f"{there}.anchors = {objective['anchors']}: must be one anchor, because "
            f"{where} names it"
        )


def _check_alike(
    there: str, pair: Sequence[str], objectives: Mapping[str, Any], seeds: Sequence[int]
) -> None:
    """Check that the two objectives that are mixed have the same anchor and the same seeds."""
    first, second = pair
    for key, meaning in (("anchors", "anchor"), ("seeds", "seeds")):
        expected = objectives[first].get(key, seeds)
        actual = objectives[second].get(key, seeds)
        if all_exact(actual) != all_exact(expected):
            raise ConfigError(
                f"{there}.{second}.{key} = {actual}: must be {expected}, the {meaning} of {first}, "
                "which it is mixed with"
            )


def _check_joint(
    key: str,
    there: str,
    joint: Mapping[str, Any],
    weights: Sequence[Any],
    mixed: Mapping[str, Mapping[str, Any]],
) -> None:
    """Check that a joint model is trained on the weighted sum of both rewards, at their anchor."""
    # The joint model must have the strength of the two that are mixed, and must be no anchor.
    names = " and ".join(mixed)
    if sum(all_exact(weights)) != 1:
        raise ConfigError(
            f"{key} = {weights}: must sum to 1, or the joint model has another strength than "
            f"{names}"
        )
    if joint["anchors"]:
        raise ConfigError(
            f"{there}.anchors = {joint['anchors']}: must be [], because {key} names it to be "
            "compared with"
        )
    (anchor,) = next(iter(mixed.values()))["anchors"]
    if exact(anchor) not in all_exact(joint["betas"]):
        raise ConfigError(
            f"{there}.betas = {joint['betas']}: must have {anchor}, the anchor of {names}"
        )

    # The joint reward must be the weighted sum, exactly.
    expected = _weighted_sum([objective["reward"] for objective in mixed.values()], weights)
    reward = joint.get("reward", "gold")
    if isinstance(reward, Mapping):
        shown = str(dict(reward))
        is_sum = _weighted_sum([reward], [1]) == expected
    else:
        shown = repr(reward)
        is_sum = False
    if not is_sum:
        written = {measure: float(weight) for measure, weight in expected.items()}
        raise ConfigError(
            f"{there}.reward = {shown}: must be {written}, the sum of the rewards of {names} "
            f"weighted by {key} = {list(weights)}"
        )


def _check_decoded_once(key: str, section: Mapping[str, Any]) -> None:
    """Check that no pair of mixing weights stands twice.

    It would be decoded twice, and tables could not tell the two apart.
    """
    seen = [all_exact(pair) for pair in ENDS]
    joint = {f"joint.{name}": pair for name, pair in section["joint"].items()}
    beyond = {f"beyond[{i}]": pair for i, pair in enumerate(section.get("beyond", []))}
    for place, pair in {**joint, **beyond}.items():
        if all_exact(pair) in seen:
            raise ConfigError(
                f"{key}.{place} = {pair}: is decoded already, as an end, for a joint model or as "
                "another pair beyond; remove it"
            )
        seen.append(all_exact(pair))


def _weighted_sum(
    rewards: Sequence[Mapping[str, Any]], weights: Sequence[Any]
) -> dict[str, Fraction]:
    """The weighted sum of rewards; measures whose weights cancel are left out."""
    total: dict[str, Fraction] = {}
    for reward, weight in zip(rewards, all_exact(weights), strict=True):
        for measure, value in reward.items():
            total[measure] = total.get(measure, Fraction(0)) + weight * exact(value)
    return {measure: value for measure, value in total.items() if value}
