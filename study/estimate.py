"""Estimate how long a study will take, so that the user is told before it starts.

The unit is a second of one core, as measured on two cores of a server without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study import several_rewards
from study.objective_checks import pairs_are_of_files, pairs_are_sampled
from study.other_references import OTHER
from study.plan import Plan, TaskPlan

# Seconds of one thread for a model of half a million parameters and 80 tokens a sequence.
START = 12.0  # importing the libraries
SECONDS_A_SEQUENCE = {"sft": 0.0075, "reward_model": 0.01, "prompts": 0.007, "preferences": 0.015}
SECONDS_A_COMPLETION = 0.0035  # decoded, scored and judged
SECONDS_A_PAIR = 0.004  # of two completions of the reference, which are in no other pair
MEASURED_SIZE = 500_000
# Each further million of parameters adds so much of these times, as measured with a model of 135
# million. It is less than in proportion, because small models wait for Python. It is more for what
# small models do in large batches, and for SFT, which trains all weights.
A_MILLION_MORE = 0.35
A_MILLION_MORE_OF_ALL_WEIGHTS = 0.75
A_MILLION_MORE_SAMPLED = 0.8

LONG = 300  # so many minutes are told in hours


def seconds(plan: Plan) -> float:
    """Seconds of one core for the whole study."""
    return sum(_task_seconds(task) for task in plan.tasks.values())


def message(total: float, cores: int, study: str) -> str:
    """Return what the user is told."""
    minutes = total / 60 / max(cores, 1)
    time = f"{minutes:.0f} min" if minutes < LONG else f"{minutes / 60:.0f} hours"
    on = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"The study `{study}` takes about {time} from its start on {on} "
        "(a rough estimate, for CPUs; what is finished is not done again)."
    )


def _task_seconds(task: TaskPlan) -> float:
    """Seconds of one core for one task."""
    decoding = _completions(task) * task.section["evaluation"]["prompts"] * SECONDS_A_COMPLETION
    jobs = 7 + 2 * len(task.runs) + _sets_of_pairs(task)
    jobs += any(baseline.decoded for baseline in task.baselines.values())
    if task.has_several_rewards:
        jobs += len(task.mixed_objectives[0].seeds)
    if task.has_other_references:
        jobs += 3 + len(task.main_objective.seeds)
        decoding += _completions_of_other_references(task) * SECONDS_A_COMPLETION
    model = task.section["model"]
    return (
        jobs * START
        + (_training_seconds(task) + decoding) * _relative_time(model)
        + _sft_seconds(task) * _relative_time(model, A_MILLION_MORE_OF_ALL_WEIGHTS)
        + _sampling_seconds(task) * _relative_time(model, A_MILLION_MORE_SAMPLED)
    )


def _relative_time(model: Mapping[str, Any], a_million_more: float = A_MILLION_MORE) -> float:
    """How many times as long a model takes as one of the measured size."""
    parameters = _parameters(model)
    further = max(0, parameters - MEASURED_SIZE) / 1_000_000
    return min(1.0, parameters / MEASURED_SIZE) + a_million_more * further


def _parameters(model: Mapping[str, Any]) -> int:
    """About how many parameters a model has."""
    if "pretrained" in model:
        return model["million_parameters"] * 1_000_000
    layer = 4 * model["hidden_size"] + 3 * model["intermediate_size"]
    return model["hidden_size"] * (model["vocab_size"] + model["layers"] * layer)


def _sft_seconds(task: TaskPlan) -> float:
    """Seconds of SFT of each reference, at the measured size."""
    sft = task.section["sft"]
    return 0.0 if sft == "none" else _references(task) * _steps_seconds("sft", sft)


def _sampling_seconds(task: TaskPlan) -> float:
    """Seconds of sampling what is learnt from, demonstrations and pairs, at the measured size."""
    section = task.section
    total = 0.0
    if task.writes_demonstrations:
        documents = section["corpus"].get("documents", {})  # rows of the user's files do not count
        asked = _references(task) * documents.get("train", 0) + documents.get("validation", 0)
        total += section["demonstrations"]["rounds"] * asked * SECONDS_A_COMPLETION
    if "preferences" in section and pairs_are_sampled(section["preferences"]):
        preferences = section["preferences"]
        # Of n completions, every two make a pair, so that n - 1 times as many pairs cost the same.
        times = preferences.get("completions", 2) - 1
        total += _sets_of_pairs(task) * preferences["pairs"] / times * SECONDS_A_PAIR
    return total


def _references(task: TaskPlan) -> int:
    """How many references are trained."""
    return 2 if OTHER in task.mixed_references else 1


def _training_seconds(task: TaskPlan) -> float:
    """Seconds of training a reward model and aligned models, at the measured size."""
    total = 0.0
    if task.has_learned_reward:
        total += _steps_seconds("reward_model", task.section["reward_model"])
    for objective in task.objectives.values():
        if objective.is_loaded:
            continue
        data = objective.declared.data
        total += len(objective.runs) * _steps_seconds(data, objective.training)
    return total


def _sets_of_pairs(task: TaskPlan) -> int:
    """How often pairs are made: for each seed that learns from them, and for a reward model.

    Pairs of the user's own are read once.
    """
    seeds: set[int] = set()
    for objective in task.objectives.values():
        if objective.declared.data == "preferences":
            seeds.update(objective.seeds)
    sets = len(seeds) + task.has_learned_reward
    return min(sets, 1) if pairs_are_of_files(task.section.get("preferences", {})) else sets


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
