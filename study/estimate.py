"""Estimate how long a study will take, so that the user is told before it starts.

The unit is a second of one core, as measured on two cores of a server without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study import several_rewards
from study.objective_checks import pairs_are_sampled
from study.plan import Plan, TaskPlan

# Seconds of one thread for a model of half a million parameters and 80 tokens a sequence.
START = 12.0  # importing the libraries
SECONDS_A_SEQUENCE = {"sft": 0.0075, "reward_model": 0.01, "prompts": 0.007, "preferences": 0.015}
SECONDS_A_COMPLETION = 0.0035  # decoded, scored and judged
SECONDS_A_PAIR = 0.004  # two completions of the reference
MEASURED_SIZE = 500_000
# Each further million of parameters adds so much of these times, as measured with a model of 135
# million. It is less than in proportion, because small models wait for Python.
A_MILLION_MORE = 0.35


def seconds(plan: Plan) -> float:
    """Seconds of one core for the whole study."""
    return sum(_task_seconds(task) for task in plan.tasks.values())


def message(total: float, cores: int, study: str) -> str:
    """Return what the user is told."""
    minutes = total / 60 / max(cores, 1)
    return (
        f"The study `{study}` takes about {minutes:.0f} min from its start on {cores} cores "
        "(a rough estimate, for CPUs; what is finished is not done again)."
    )


def _task_seconds(task: TaskPlan) -> float:
    """Seconds of one core for one task."""
    training = _training_seconds(task)
    decoding = _completions(task) * task.section["evaluation"]["prompts"] * SECONDS_A_COMPLETION
    jobs = 7 + 2 * len(task.runs) + _sets_of_pairs(task)
    jobs += any(baseline.decoded for baseline in task.baselines.values())
    if task.has_several_rewards:
        jobs += len(task.mixed_objectives[0].seeds)
    if task.has_other_references:
        jobs += 3 + len(task.main_objective.seeds)
        decoding += _completions_of_other_references(task) * SECONDS_A_COMPLETION
    return jobs * START + (training + decoding) * _relative_time(task.section["model"])


def _relative_time(model: Mapping[str, Any]) -> float:
    """How many times as long a model takes as one of the measured size."""
    parameters = _parameters(model)
    further = max(0, parameters - MEASURED_SIZE) / 1_000_000
    return min(1.0, parameters / MEASURED_SIZE) + A_MILLION_MORE * further


def _parameters(model: Mapping[str, Any]) -> int:
    """About how many parameters a model has."""
    if "pretrained" in model:
        return model["million_parameters"] * 1_000_000
    layer = 4 * model["hidden_size"] + 3 * model["intermediate_size"]
    return model["hidden_size"] * (model["vocab_size"] + model["layers"] * layer)


def _training_seconds(task: TaskPlan) -> float:
    """Seconds of training, and of sampling the pairs it needs, at the measured size."""
    section = task.section
    total = 0.0
    references = 2 if task.has_other_references else 1
    if section["sft"] != "none":
        total += references * _steps_seconds("sft", section["sft"])
    if task.writes_demonstrations:
        documents = section["corpus"]["documents"]
        asked = references * documents["train"] + documents["validation"]
        total += section["demonstrations"]["rounds"] * asked * SECONDS_A_COMPLETION
    if "preferences" in section and pairs_are_sampled(section["preferences"]):
        total += _sets_of_pairs(task) * section["preferences"]["pairs"] * SECONDS_A_PAIR
    if task.has_learned_reward:
        total += _steps_seconds("reward_model", section["reward_model"])
    for objective in task.objectives.values():
        data = objective.declared.data
        total += len(objective.runs) * _steps_seconds(data, objective.training)
    return total


def _sets_of_pairs(task: TaskPlan) -> int:
    """How often pairs are drawn: for each seed that learns from them, and for a reward model."""
    seeds: set[int] = set()
    for objective in task.objectives.values():
        if objective.declared.data == "preferences":
            seeds.update(objective.seeds)
    return len(seeds) + task.has_learned_reward


def _steps_seconds(kind: str, settings: Mapping[str, Any]) -> float:
    return settings["steps"] * settings["batch_size"] * SECONDS_A_SEQUENCE[kind]


def _completions(task: TaskPlan) -> float:
    """Completions of a prompt to decode; one of a mixture counts once for each of its models."""
    evaluation = task.section["evaluation"]
    lams = task.section["dera"]["lams"]
    samples = evaluation["samples"]
    total = evaluation["reference_samples"]
    for objective in task.objectives.values():
        seeds = len(objective.seeds)
        matched_lams = seeds * len(objective.anchors) * len(objective.betas)
        total += samples * (len(objective.runs) + 2 * matched_lams + 2 * len(lams))
    for baseline in task.baselines.values():
        if baseline.decoded:
            total += 2 * samples * len(baseline.knobs)
    if task.has_several_rewards:
        pairs = several_rewards.lam_pairs(task.section["several_rewards"])
        total += samples * 3 * len(task.mixed_objectives[0].seeds) * len(pairs)
    return total


def _completions_of_other_references(task: TaskPlan) -> float:
    """Completions to decode by mixtures with each reference; one counts once for each model."""
    section = task.section["dera"]["other_references"]
    prompts = task.prompts_of_other_references
    mixtures = len(task.mixed_references) * len(task.lams_of_other_references)
    return 2 * section["samples"] * prompts * mixtures * len(task.main_objective.seeds)
