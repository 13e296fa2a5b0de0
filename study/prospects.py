"""What a study cannot decide, said before it starts.

A study whose seeds, strengths or grid of lams cannot decide a claim runs all the same. It is told
so, claim by claim.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from study.plan import ObjectivePlan, Plan, TaskPlan

#: With fewer training seeds a claim about aligned models is not tested (docs/statistics.md).
MIN_SEEDS = 5
#: With fewer training seeds DeRa is not compared with a baseline.
MIN_SEEDS_OF_BASELINES = 3
#: With fewer training seeds DeRa is not compared with mixtures of other references.
MIN_SEEDS_OF_REFERENCES = 3
#: Neighbouring lams of a grid that can show a smooth transition are at most this far apart.
MAX_SPACING = Fraction(1, 4)
#: With fewer held-out prompts a claim is not tested: the interval of values that are as skewed as
#: an exponential covers the truth 93% of the time at 32 prompts, and 90% at 10
#: (docs/statistics.md).
MIN_PROMPTS = 32


def too_small(plan: Plan) -> str:
    """Return that no objective of this study can be judged, or an empty text where one can.

    The text is for the top of the study's page. It says what is missing.
    """
    realigned = []
    for task in plan.tasks.values():
        prompts = task.section["evaluation"]["prompts"]
        for objective in task.objectives.values():
            if objective.anchors:
                realigned.append((len(objective.seeds), prompts))
    if any(seeds >= MIN_SEEDS and prompts >= MIN_PROMPTS for seeds, prompts in realigned):
        return ""
    seeds, prompts = (max(counts, default=0) for counts in zip(*realigned, strict=True))
    return (
        "This study is too small to judge aligned models by. A claim about them needs "
        f"{MIN_SEEDS} training seeds and {MIN_PROMPTS} prompts; no objective here has more than "
        f"{_counted(seeds, 'training seed')} and {_counted(prompts, 'prompt')}. The numbers are "
        "shown all the same."
    )


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def message(plan: Plan) -> str:
    """Return what this study cannot decide, a line each, or an empty text."""
    lines = []
    for task in plan.tasks.values():
        for objective in task.objectives.values():
            if objective.anchors:
                lines += [f"{task.name} {objective.name}: {line}" for line in _of(task, objective)]
        if len(task.main_objective.seeds) < MIN_SEEDS_OF_BASELINES and task.has_baselines:
            lines.append(
                f"{task.name}: the claims about baselines need {MIN_SEEDS_OF_BASELINES} training "
                f"seeds, and {task.main_objective.name} has {len(task.main_objective.seeds)}"
            )
        if task.has_other_references:
            lines += [f"{task.name}: {line}" for line in _of_other_references(task)]
    if not lines:
        return ""
    shown = "\n".join(f"- {line}." for line in lines)
    return f"This study runs, and these claims will be `not tested here`:\n{shown}"


def _of(task: TaskPlan, objective: ObjectivePlan) -> list[str]:
    """Return what cannot be decided about one objective."""
    lines = []
    if len(objective.seeds) < MIN_SEEDS:
        has = f"alignment.seeds has {len(objective.seeds)}"
        if objective.is_loaded:
            has = "a model that is loaded has one"
        lines.append(f"every claim about its models needs {MIN_SEEDS} training seeds, and {has}")
    if len(objective.betas) < 2:
        lines.append("agreement needs a second strength in betas")
    if not _has_fine_grid(task, objective):
        lines.append(
            f"a smooth transition needs lams from 0 to 1 at most {MAX_SPACING} apart (dera.lams "
            "and fine_grid)"
        )
    prompts = task.section["evaluation"]["prompts"]
    if prompts < MIN_PROMPTS:
        lines.append(f"intervals need {MIN_PROMPTS} prompts, and evaluation.prompts is {prompts}")
    return lines


def _of_other_references(task: TaskPlan) -> list[str]:
    """Return what keeps the claim about other references from being decided."""
    lines = []
    seeds = len(task.main_objective.seeds)
    if seeds < MIN_SEEDS_OF_REFERENCES:
        lines.append(
            f"the claim about other references needs {MIN_SEEDS_OF_REFERENCES} training seeds, and "
            f"{task.main_objective.name} has {seeds}"
        )
    prompts = task.prompts_of_other_references
    if prompts < MIN_PROMPTS:
        lines.append(
            f"the claim about other references needs {MIN_PROMPTS} prompts, and "
            f"dera.other_references has {prompts}"
        )
    return lines


def _has_fine_grid(task: TaskPlan, objective: ObjectivePlan) -> bool:
    """Whether DeRa is decoded at lams from 0 to 1 that are close enough to each other."""
    between = [lam for lam in task.lams(objective.default_run) if 0 <= lam <= 1]  # ascending
    if not objective.fine_grid or not {0, 1} <= set(between):
        return False
    return all(far - near <= MAX_SPACING for near, far in pairwise(between))
