"""How long a study will take, told before it starts: seconds of one core, from what was measured on two cores of a server without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study import several_rewards
from study.checks import Objective, pairs_are_sampled
from study.config import decoded_baselines
from study.config import seeds as seeds_of

# Seconds of one thread for a model of half a million parameters and 80 tokens a sequence; larger models take in proportion.
START = 12.0  # importing the libraries
SECONDS_A_SEQUENCE = {"sft": 0.0075, "reward_model": 0.01, "prompts": 0.011, "preferences": 0.015}
SECONDS_A_COMPLETION = 0.0035
MEASURED_SIZE = 500_000


def seconds(config: Mapping[str, Any], objectives: Mapping[str, Mapping[str, Objective]]) -> float:
    """Seconds of one core for the whole study.

    Args:
        config: a config that passed its checks.
        objectives: for each task and alignment what it is made with.
    """
    return sum(_task(task, objectives[name]) for name, task in config["tasks"].items())


def _task(task: Mapping[str, Any], objectives: Mapping[str, Objective]) -> float:
    model, evaluation = task["model"], task["evaluation"]
    size = model["hidden_size"] * (
        model["vocab_size"]
        + model["layers"] * (4 * model["hidden_size"] + 3 * model["intermediate_size"])
    )
    training = _training("sft", task["sft"])
    if "preferences" in task and pairs_are_sampled(task["preferences"]):
        training += 2 * task["preferences"]["pairs"] * SECONDS_A_COMPLETION
    if "reward_model" in task:
        training += _training("reward_model", task["reward_model"])
    decoded, jobs = evaluation["reference_samples"], 8
    for name, objective in task["alignment"]["objectives"].items():
        seeds = len(seeds_of(task, name))
        runs = seeds * len(objective["betas"])
        jobs += 2 * runs
        training += runs * _training(objectives[name].data, objective)
        matched = seeds * len(objective["anchors"]) * len(objective["betas"])
        decoded += evaluation["samples"] * (runs + 2 * matched + 2 * len(task["dera"]["lams"]))
    baselines = [
        knobs["lams"] if name == "top_k" else knobs
        for name, knobs in decoded_baselines(task).items()
    ]
    jobs += bool(baselines)
    decoded += 2 * evaluation["samples"] * sum(map(len, baselines))
    if "several_rewards" in task:
        seeds = len(seeds_of(task, task["several_rewards"]["parts"][0]))
        jobs += seeds
        decoded += (
            evaluation["samples"] * 3 * seeds * len(several_rewards.lams(task["several_rewards"]))
        )
    decoding = decoded * evaluation["prompts"] * SECONDS_A_COMPLETION
    return jobs * START + (training + decoding) * size / MEASURED_SIZE


def _training(kind: str, settings: Mapping[str, Any]) -> float:
    return settings["steps"] * settings["batch_size"] * SECONDS_A_SEQUENCE[kind]


def message(total: float, cores: int, study: str) -> str:
    """What to tell the user."""
    minutes = total / 60 / max(cores, 1)
    return f"The study `{study}` takes about {minutes:.0f} min from its start on {cores} cores (a rough estimate, for CPUs; what is finished is not done again)."
