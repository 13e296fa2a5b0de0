"""The configs of the studies that tests run: tasks of the smoke study with less of everything."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RLOO = {"steps": 4, "batch_size": 16}


def smoke_section(task: str) -> dict[str, Any]:
    """The section of a task in the smoke study, with less of everything and its objectives."""
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    section = copy.deepcopy(smoke["tasks"][task])
    section["dera"]["lams"] = [0, 1]
    section["dera"].pop("other_references", None)  # it takes another training
    section["alignment"]["seeds"] = [0]
    section["corpus"]["documents"] = {"train": 200, "validation": 16, "test": 8}
    section["sft"] |= {"steps": 10, "eval_every": 5, "warmup_steps": 2, "batch_size": 16}
    section["evaluation"] |= {"prompts": 8, "reference_samples": 4}
    return section


def with_rloo(task: str) -> dict[str, Any]:
    """A task of the smoke study whose only objective is RLOO, for few steps."""
    section = smoke_section(task)
    section["alignment"]["objectives"] = {"rloo": section["alignment"]["objectives"]["rloo"] | RLOO}
    return section


def with_several_rewards() -> dict[str, Any]:
    """Summarization with a section `several_rewards`.

    DeRa mixes two models, each trained on one reward. A third one, trained on their weighted sum,
    is there to compare with: DeRa does not start from it.
    """
    section = smoke_section("summarization")
    rloo = section["alignment"]["objectives"]["rloo"] | RLOO
    del rloo["default_beta"]
    rewards = {
        "rloo-coverage": {"coverage": 1},
        "rloo-brevity": {"words": -0.05},
        "rloo-1-1": {"coverage": 0.5, "words": -0.025},
    }
    objectives = {}
    for name, reward in rewards.items():
        anchors = [] if name == "rloo-1-1" else [0.5]
        strengths = {"betas": [0.5], "anchors": anchors}
        objectives[name] = rloo | strengths | {"objective": "rloo", "reward": reward}
    section["alignment"] |= {"main_objective": "rloo-coverage", "objectives": objectives}
    del section["preferences"], section["reward_model"]
    section["several_rewards"] = {
        "objectives": ["rloo-coverage", "rloo-brevity"],
        "joint": {"rloo-1-1": [0.5, 0.5]},
        "beyond": [[1, 1]],
    }
    return section


def tiny_study(**tasks: dict[str, Any]) -> dict[str, Any]:
    """A study of these tasks. The first is the main one."""
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    return smoke | {"study": "tiny", "main_task": next(iter(tasks)), "tasks": tasks}
