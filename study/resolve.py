"""Resolving a config into a plan: it is checked, and what it leaves unsaid is filled in."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study import (
    baselines,
    checks,
    layers,
    loaded,
    names,
    objective_checks,
    other_references,
    replicates,
    schema,
    several_rewards,
    sources,
    tracking,
)
from study.objective_checks import Declared
from study.plan import ObjectivePlan, Plan, TaskPlan
from study.replicates import Replicate
from study.schema import ConfigError
from study.strengths import label

#: A message is cut in the middle beyond so many characters.
LONGEST_MESSAGE = 1000

#: Keys of an objective that say which models are trained and compared, not how one is trained.
NOT_FOR_TRAINING = {
    "betas",
    "anchors",
    "default_beta",
    "fine_grid",
    "seeds",
    "pretrained",
}


def plan_of(config: Mapping[str, Any]) -> Plan:
    """Check a config, as read from YAML, and say what it means.

    Files of the user's own are read, but objectives are not imported. The files of corpora are not
    looked for here: `plan_or_exit` does that.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    schema.check(config)
    names.check("study", config["study"], "study")
    names.check_all("tasks", config["tasks"], "task")
    loaded.check_names(config["tasks"])
    replicate = replicates.of(config)
    (seed,) = replicate.shifted("seed", [config["seed"]])
    tasks = {}
    for name, section in config["tasks"].items():
        tasks[name] = _resolve_task(f"tasks.{name}", name, section, seed, replicate)
    return Plan(
        study=config["study"],
        replicate=replicate,
        seed=seed,
        statistics=config["statistics"],
        tasks=tasks,
        main_task=tasks[_main_task(config)],
        config=config,
    )


def plan_or_exit(config: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Plan:
    """Resolve a config, and find the files of its corpora and its trackers.

    A mistake ends the process with one line.

    Args:
        config: as read from YAML.
        files: the files that the config was read from. No key may stand twice in one of them.
    """
    try:
        for path in files:
            schema.check_file(Path(path))
        plan = plan_of(config)
        tracking.check(config)
        tasks = {}
        for name, task in plan.tasks.items():
            key, section = f"tasks.{name}", task.section
            reference = checks.pretrained_source(f"{key}.model", section["model"])
            if reference is not None:
                layers.check_layers_of_files(key, section, Path(sources.where(reference)))
            for objective in task.objectives.values():
                where = f"{key}.alignment.objectives.{objective.name}"
                loaded.check_files(where, reference, objective.pretrained)
            tasks[name] = dataclasses.replace(
                task,
                corpus_sources=checks.corpus_sources(f"{key}.corpus", section["corpus"]),
                pretrained=reference,
                pairs_source=checks.pairs_source(key, section),
            )
        return dataclasses.replace(plan, tasks=tasks, main_task=tasks[plan.main_task.name])
    except ConfigError as error:
        print(f"config error: {_cut(str(error))}", file=sys.stderr)
        sys.exit(1)


def _cut(message: str) -> str:
    """Return a message that fits a screen and is one line, whatever value it quotes.

    A value may hold characters that move the cursor or clear the screen. They are shown as escapes.
    """
    message = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in message
    )
    if len(message) <= LONGEST_MESSAGE:
        return message
    half = LONGEST_MESSAGE // 2
    return f"{message[:half]} ... {message[-half:]}"


def _resolve_task(
    key: str, name: str, section: Mapping[str, Any], seed: int, replicate: Replicate
) -> TaskPlan:
    """Check the section of a task, which stands at `key`, and resolve it."""
    # Check the whole section before anything is made of it.
    module, corpora, judge_errors = checks.check_task(key, name, section)
    declared = objective_checks.check(key, section)
    task_baselines = baselines.check(key, section)
    if "several_rewards" in section:
        several_rewards.check(key, section)
    if "other_references" in section["dera"]:
        other_references.check(key, section)

    # Fill in what the section leaves to defaults.
    objectives = {}
    for objective_name, declared_module in declared.items():
        objectives[objective_name] = _resolve_objective(
            key, objective_name, section, declared_module, replicate
        )
    return TaskPlan(
        name=name,
        section=section,
        study_seed=seed,
        module=module,
        corpora=corpora,
        corpus_sources={},
        pretrained=None,
        pairs_source=None,
        objectives=objectives,
        main_objective=_main_objective(section["alignment"], objectives),
        baselines=task_baselines,
        judge_errors=judge_errors,
    )


def _resolve_objective(
    key: str, name: str, task: Mapping[str, Any], declared: Declared, replicate: Replicate
) -> ObjectivePlan:
    """Resolve a checked objective; the task says what the objective's own section does not."""
    alignment = task["alignment"]
    section = alignment["objectives"][name]
    if "seeds" in section:
        seeds = replicate.shifted(f"{key}.alignment.objectives.{name}.seeds", section["seeds"])
    else:
        seeds = replicate.shifted(f"{key}.alignment.seeds", alignment["seeds"])
    anchors = tuple(label(anchor) for anchor in section["anchors"])
    if "default_beta" in section:
        default_beta = label(section["default_beta"])
    else:
        default_beta = anchors[0] if anchors else None  # the checks allow one anchor at most here
    return ObjectivePlan(
        name=name,
        declared=declared,
        reward=section.get("reward", "gold"),
        betas=tuple(label(beta) for beta in section["betas"]),
        anchors=anchors,
        default_beta=default_beta,
        fine_grid=section.get("fine_grid", True),
        seeds=seeds,
        training={key: value for key, value in section.items() if key not in NOT_FOR_TRAINING},
        pretrained=loaded.sources_of(f"{key}.alignment.objectives.{name}", section),
    )


def _main_objective(
    alignment: Mapping[str, Any], objectives: Mapping[str, ObjectivePlan]
) -> ObjectivePlan:
    """The objective that the config names, or the only one with an anchor."""
    if "main_objective" in alignment:
        return objectives[alignment["main_objective"]]
    (with_anchor,) = [objective for objective in objectives.values() if objective.anchors]
    return with_anchor


def _main_task(config: Mapping[str, Any]) -> str:
    """The name of the task that the config names as its main one, or of its only task.

    Raises:
        ConfigError: if there are several tasks and none is named, or the named one is not there.
    """
    tasks = list(config["tasks"])
    if "main_task" not in config:
        if len(tasks) > 1:
            raise ConfigError(
                f"main_task: missing, but there are several tasks ({', '.join(tasks)}); name the "
                "one whose models the curve trial and the benchmark use"
            )
        return tasks[0]
    if config["main_task"] not in tasks:
        raise ConfigError(
            f"main_task = {config['main_task']!r}: there is no such task; "
            f"allowed: {', '.join(tasks)}"
        )
    return config["main_task"]
