"""The data of the explorer: what each policy wrote for a few prompts, and the curves over lam.

The prompts are the first ones held out, and a completion is the first that its policy drew, so
nothing is chosen for its looks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from eval.columns import effective_beta
from report.page.texts import Completion, clean, completion, is_harmful, number

#: So many prompts of each task are shown, or the first number of them that fits.
PROMPTS = (12, 6, 3, 1)
#: The data of all tasks have at most so many bytes as JSON.
MAX_BYTES = 3_000_000
QUANTITIES = ("reward", "kl")

#: The mean of a quantity and the ends of its 95% interval.
Interval = tuple[float | None, float | None, float | None]


class Prompt(TypedDict):
    """A held-out prompt, and whether it is a harmful request."""

    text: str
    harmful: bool


class Aligned(TypedDict):
    """DeRa from the aligned models of one objective and anchor, one model a training seed.

    `lams` are the mixing weights that were decoded and `betas` the effective strengths, which are
    None at lam = 0. `dera[seed][prompt][lam]` is a completion, and so is
    `retrained[seed][prompt][lam]`, which is None where no model was trained at that strength. Both
    are indices into the lists beside them. `curves[quantity][lam]` has DeRa's means over seeds, and
    `retrained_curves[quantity][lam]` those of the retrained models.
    """

    objective: str
    anchor: float
    lams: list[float]
    betas: list[float | None]
    seeds: list[int]
    dera: list[list[list[Completion | None]]]
    retrained: list[list[list[Completion | None]]]
    curves: dict[str, list[Interval | None]]
    retrained_curves: dict[str, list[Interval | None]]


class TaskTexts(TypedDict):
    """What the explorer shows of one task; `reference[prompt]` is a completion."""

    name: str
    prompts: list[Prompt]
    reference: list[Completion | None]
    aligned: list[Aligned]


@dataclass(frozen=True)
class TaskTables:
    """The tables of one task.

    Attributes:
        name: the task's name.
        completions: scored completions; of each policy and prompt, the first is read.
        policies: the table policies.csv.
        prompts: the held-out prompts, in their order.
    """

    name: str
    completions: pd.DataFrame
    policies: pd.DataFrame
    prompts: list[str]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds of the aligned models."""
        return tuple(sorted({int(seed) for seed in self.completions["seed"].dropna()}))


def gather(tasks: list[TaskTables], max_bytes: int = MAX_BYTES) -> dict[str, list[TaskTexts]]:
    """Return the data of all tasks, with as many prompts as fit into `max_bytes` of JSON."""
    for count in PROMPTS:
        data = {"tasks": [of_task(task, count) for task in tasks]}
        if len(json.dumps(data)) <= max_bytes:
            break
    return data


def of_task(task: TaskTables, count: int) -> TaskTexts:
    """Return the data of one task with its first `count` prompts."""
    shown = task.completions[task.completions["sample_id"] == 0]
    shown = shown[shown["prompt_id"] < count]
    written = {_key(row): row for row in shown.to_dict("records")}
    prompt_ids = sorted(shown["prompt_id"].unique())

    # a prompt is a harmful request if the task says so of any answer to it
    harmful = {row["prompt_id"] for row in written.values() if is_harmful(row)}
    prompts: list[Prompt] = []
    for index in prompt_ids:
        prompts.append({"text": clean(task.prompts[index]), "harmful": index in harmful})

    groups = shown[shown["kind"] == "dera"].groupby(["objective", "anchor"], sort=True)
    aligned = [_aligned(task, names, rows, written, prompt_ids) for names, rows in groups]
    aligned.sort(key=lambda item: not _is_default(item, task.policies))
    reference = [_shown(written.get(("reference", index))) for index in prompt_ids]
    return {"name": task.name, "prompts": prompts, "reference": reference, "aligned": aligned}


def _aligned(
    task: TaskTables,
    names: tuple[str, str],
    rows: pd.DataFrame,
    written: Mapping[tuple, dict[str, Any]],
    prompt_ids: list[int],
) -> Aligned:
    """Return the data of one objective and anchor, from DeRa's rows of it."""
    objective, anchor = names[0], Fraction(names[1])
    lams = sorted({Fraction(lam) for lam in rows["lam"]})
    betas = [effective_beta(anchor, lam) for lam in lams]
    seeds = sorted({int(seed) for seed in rows["seed"]})

    # what DeRa wrote at each lam, and the models that were retrained at its effective beta
    dera: list[list[list[Completion | None]]] = []
    retrained: list[list[list[Completion | None]]] = []
    for seed in seeds:
        dera.append([])
        retrained.append([])
        for index in prompt_ids:
            by_dera = [("dera", objective, anchor, lam, seed, index) for lam in lams]
            by_retrained = [("retrained", objective, beta, seed, index) for beta in betas]
            dera[-1].append([_shown(written.get(key)) for key in by_dera])
            retrained[-1].append([_shown(written.get(key)) for key in by_retrained])

    # the curves, which average over seeds
    mean = task.policies[task.policies["seed"].astype(str) == "mean"]
    mean = mean[mean["objective"] == objective]
    of_dera = mean[(mean["kind"] == "dera") & np.isclose(mean["anchor"], float(anchor))]
    of_retrained = mean[mean["kind"] == "retrained"]
    strengths = [None if beta is None else float(beta) for beta in betas]
    weights = [float(lam) for lam in lams]
    return {
        "objective": objective,
        "anchor": float(anchor),
        "lams": weights,
        "betas": strengths,
        "seeds": seeds,
        "dera": dera,
        "retrained": retrained,
        "curves": _curves(of_dera, "lam", weights),
        "retrained_curves": _curves(of_retrained, "beta", strengths),
    }


def _curves(
    rows: pd.DataFrame, column: str, values: list[float] | list[float | None]
) -> dict[str, list[Interval | None]]:
    """Return each quantity with its interval where `column` has each of the values."""
    curves: dict[str, list[Interval | None]] = {name: [] for name in QUANTITIES}
    for value in values:
        found = rows.iloc[:0] if value is None else rows[np.isclose(rows[column], value)]
        for name, curve in curves.items():
            if found.empty:
                curve.append(None)
                continue
            row = found.iloc[0]
            curve.append(
                (number(row[name]), number(row[f"{name}_low"]), number(row[f"{name}_high"]))
            )
    return curves


def _is_default(aligned: Aligned, policies: pd.DataFrame) -> bool:
    """Return whether this is the default anchor of the task's main objective."""
    main = policies[policies["main_objective"].astype(bool)]
    is_main = main["objective"].eq(aligned["objective"]).any()
    return bool(is_main and np.isclose(main["default_beta"], aligned["anchor"]).any())


def _key(row: Mapping[str, Any]) -> tuple:
    """Return what tells a completion apart: its policy, with exact strengths, and its prompt."""
    kind, index = row["kind"], row["prompt_id"]
    if kind == "dera":
        strengths = Fraction(row["anchor"]), Fraction(row["lam"])
        return (kind, row["objective"], *strengths, int(row["seed"]), index)
    if kind == "retrained":
        return (kind, row["objective"], Fraction(row["beta"]), int(row["seed"]), index)
    return (kind, index)


def _shown(row: Mapping[str, Any] | None) -> Completion | None:
    return None if row is None else completion(row)
