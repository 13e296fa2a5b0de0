"""The settings that each job is given: what it needs of the plan, and nothing else.

A job runs again when its settings change. So no job is told what it does not need: a new beta in
the config must not make the models of the other betas train again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from study.objective_checks import pairs_are_of_files, pairs_are_sampled
from study.plan import ObjectivePlan, Plan, Run, TaskPlan

#: One batch of so many prompts is decoded for each time. A pretrained model is so much slower that
#: fewer take long enough to be timed.
TIMED_PROMPTS = 256
TIMED_PROMPTS_OF_PRETRAINED = 16
TIMED_REPEATS = 9

#: Keys of a section that shape no job that gets the section: `reading` passes one on by itself, and
#: the other is for the estimate of time.
NOT_FOR_JOBS = ("reading_samples", "million_parameters")


def of_task(task: TaskPlan, *sections: str, **more: Any) -> dict[str, Any]:
    """The task's own settings, the named sections of its config, and any further settings."""
    task_keys = [key for key in ("settings", "module") if key in task.section]
    task_settings = {key: task.section[key] for key in task_keys}
    named_sections = {name: _named_section(task, name) for name in sections}
    return {"task": {"name": task.name, **task_settings}, **named_sections, **more}


def loading_pretrained(task: TaskPlan) -> dict[str, Any]:
    """Settings of `training.load_pretrained`."""
    return _named_section(task, "model")


def drawing_preferences(task: TaskPlan) -> dict[str, Any]:
    """Settings of `training.preferences`."""
    return of_task(task, "preferences", max_new_tokens=task.max_new_tokens)


def reading_pairs(task: TaskPlan) -> dict[str, Any]:
    """Settings of `training.pairs_of_files`."""
    preferences = task.section["preferences"]
    reading = {key: value for key, value in preferences.items() if key not in ("source", "files")}
    return {
        "task": task.name,
        "max_positions": task.section["model"]["max_positions"],
        **reading,
    }


def aligning(task: TaskPlan, run: Run) -> dict[str, Any]:
    """Settings of `training.align`, without the beta and the seed, which the command names."""
    objective = task.objectives[run.objective]
    pairs = {}
    learns_from_pairs = objective.declared.data == "preferences"
    if learns_from_pairs and not pairs_are_of_files(task.section["preferences"]):
        pairs = {"preferences": task.section["preferences"]}
    return of_task(
        task,
        "lora",
        max_new_tokens=task.max_new_tokens,
        objective=dict(objective.training),
        **pairs,
    )


def loading_aligned(task: TaskPlan, run: Run) -> dict[str, Any]:
    """Settings of `training.load_aligned`, without the beta and the seed."""
    source = task.objectives[run.objective].pretrained[run.beta]
    dtype = task.section["model"].get("dtype", "float32")
    return {"task": task.name, "pretrained": dataclasses.asdict(source), "dtype": dtype}


def decoding(task: TaskPlan, name: str) -> dict[str, Any]:
    """Settings of `eval.decode` for the decoding job of that name."""
    return {
        "task": task.name,
        **_named_section(task, "evaluation"),
        "max_new_tokens": task.max_new_tokens,
        "policies": task.decodings[name].policies,
    }


def reading(task: TaskPlan, objective: ObjectivePlan, seed: int) -> dict[str, Any]:
    """Settings of `eval.read` for the models of one objective and seed."""
    evaluation = task.section["evaluation"]
    return {
        "task": task.name,
        "objective": objective.name,
        "betas": objective.betas,
        "anchors": objective.anchors,
        "seed": seed,
        "other_seed": objective.other_seed(seed),
        "prompts": evaluation["prompts"],
        "samples": task.reading_samples,
        "batch_size": evaluation["batch_size"],
    }


def trying_references(task: TaskPlan, seed: int) -> dict[str, Any]:
    """Settings of `eval.reference_trial` for the models of one seed of the main objective."""
    section = task.section["dera"]["other_references"]
    evaluation = task.section["evaluation"]
    return of_task(
        task,
        objective=task.main_objective.name,
        anchor=task.main_run.beta,
        betas=task.main_objective.betas,
        seed=seed,
        references=task.mixed_references,
        lams=[str(lam) for lam in task.lams_of_other_references],
        prompts=task.prompts_of_other_references,
        samples=section["samples"],
        batch_size=evaluation["batch_size"],
        max_new_tokens=task.max_new_tokens,
    )


def estimating_curve(plan: Plan, task: TaskPlan) -> dict[str, Any]:
    """Settings of `eval.curve`."""
    return of_task(
        task,
        "evaluation",
        curve=task.section["dera"]["curve"],
        max_new_tokens=task.max_new_tokens,
        resamples=plan.statistics["bootstrap_resamples"],
    )


def gathering_curves(task: TaskPlan) -> dict[str, Any]:
    """Settings of `eval.gather_curves`: the model of each curve, and how far a curve goes."""
    labels = [
        {"objective": run.objective, "anchor": run.beta, "seed": run.seed}
        for run in task.curve_runs
    ]
    curve = task.section["dera"]["curve"]
    return {"curves": labels, "points": curve["points"], "max_lam": curve["max_lam"]}


def timing(task: TaskPlan) -> dict[str, Any]:
    """Settings of `eval.time_two_models`."""
    pretrained = "pretrained" in task.section["model"]
    timed = TIMED_PROMPTS_OF_PRETRAINED if pretrained else TIMED_PROMPTS
    prompts = min(timed, task.section["evaluation"]["prompts"])
    return {"prompts": prompts, "max_new_tokens": task.max_new_tokens, "repeats": TIMED_REPEATS}


def scoring(task: TaskPlan) -> dict[str, Any]:
    """Settings of `eval.score`; they describe the labeller where the task's pairs have one."""
    labelled = {}
    preferences = task.section.get("preferences")
    if preferences and pairs_are_sampled(preferences):
        labelled = {"preferences": preferences}
    return of_task(task, metrics=task.section.get("metrics", []), **labelled)


def judging(plan: Plan, task: TaskPlan) -> dict[str, Any]:
    """Settings of the jobs that make tables and claims: `eval.judging.Judging`."""
    # What training maximised, and which models there are.
    objectives = {}
    for objective in task.objectives.values():
        objectives[objective.name] = {
            "reward": objective.reward,
            "optimum": objective.declared.optimum,
            "betas": objective.betas,
            "anchors": objective.anchors,
            "default_beta": objective.default_beta,
            "seeds": objective.seeds,
        }

    # The baselines that reweight completions of the reference, and so have no decoding job.
    reweighted = {}
    for baseline in task.baselines.values():
        if not baseline.decoded:
            reweighted[baseline.name] = baseline.knobs

    # Without such errors the settings are those that studies had before there were any.
    errors = task.judge_errors
    judge_errors = {} if errors is None else {"judge_errors": dataclasses.asdict(errors)}
    return {
        "statistics": plan.statistics,
        "objectives": objectives,
        "main_objective": task.main_objective.name,
        "reweighted": reweighted,
        "several_rewards": task.section.get("several_rewards"),
        **judge_errors,
    }


def _named_section(task: TaskPlan, name: str) -> Any:
    """A section of the task's config, without the keys that no job needs to know."""
    section = task.section[name]
    if not isinstance(section, Mapping):
        return section
    return {key: value for key, value in section.items() if key not in NOT_FOR_JOBS}


def digest(*texts: str) -> str:
    """A short name for what a job was asked to do."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
