"""Derive the claims and tables of a finished study again, from its archived tables alone.

No model is loaded. The functions are those of the jobs that made the study, and the settings are
those that the jobs were given. What a model has to be run for is taken as it is: completions and
their scores, readings, seconds, and the identity that is checked on each task's own models.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic

from eval import (
    collect_training,
    kl_by_lam,
    other_references,
    pick_samples,
    policies,
    readings,
    several_rewards,
    summarize,
)
from eval.claims import Claim, agreement, cost, identities
from eval.decide import (
    decide,
    evidence_from,
    seconds_saved,
    training_and_decoding,
    under_controls,
)
from eval.judging import Judging
from eval.other_references import Mixtures
from eval.readings import Readings
from study import job
from study.job import Progress

#: Tables of a task that the study has, too, with a column `task`.
GATHERED = ("policies", "costs", "agreement")


@dataclass(frozen=True)
class Derived:
    """What follows from archived tables.

    Attributes:
        claims: as JSON has them, in the order of the study's claims.json.
        tables: by their paths below the study's folder, such as length/tables/policies.csv.
    """

    claims: list[dict[str, Any]]
    tables: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Archived:
    """The tables of one task that its claims are decided from."""

    folder: Path
    judging: Judging
    completions: pd.DataFrame
    readings: Readings
    mixtures: Mixtures
    seed: int

    @property
    def task(self) -> str:
        """The name of the task, which is that of its folder."""
        return self.folder.name

    def files(self, pattern: str) -> list[Path]:
        """Return the files of the task that fit a pattern, sorted."""
        return sorted(self.folder.glob(pattern))


def derive(folder: Path, tasks: list[str], seed: int, progress: Progress) -> Derived:
    """Return what follows from the tables of a study.

    Args:
        folder: the folder of the study, such as results/laptop.
        tasks: the names of the tasks, in the order of the study's claims.json.
        seed: the study's seed.
        progress: is told what is done.
    """
    of_study = [identities.exact(seed), *cost.price(pd.read_csv(folder / "tables/timings.csv"))]
    claims = [as_json(claim) for claim in of_study]
    tables = {}
    for task in tasks:
        progress.say(f"derives {task}")
        archived = read(folder / task, seed)
        decided, of_task = _task(archived, progress)
        claims += [as_json(claim) for claim in decided]
        tables |= {f"{task}/tables/{name}.csv": table for name, table in of_task.items()}
    for name in GATHERED:
        of_tasks = [tables[f"{task}/tables/{name}.csv"] for task in tasks]
        gathered = pd.concat(of_tasks, keys=tasks, names=["task"])
        tables[f"tables/{name}.csv"] = gathered.reset_index("task")
    return Derived(claims, tables)


def as_json(claim: Claim) -> dict[str, Any]:
    """Return a claim as claims.json has it."""
    return json.loads(json.dumps(dataclasses.asdict(claim)))


def read(folder: Path, seed: int) -> Archived:
    """Read the tables of a task, whose folder this is."""
    settings = job.read_json(folder / "logs/decide_claims.settings.json")
    return Archived(
        folder,
        pydantic.TypeAdapter(Judging).validate_python(settings),
        pd.read_parquet(folder / "tables/completions.parquet"),
        readings.read_tables(sorted(folder.glob("readings/*.parquet"))),
        other_references.read_tables(sorted(folder.glob("reference_trials/*.parquet"))),
        seed,
    )


def _task(archived: Archived, progress: Progress) -> tuple[list[Claim], dict[str, pd.DataFrame]]:
    """Return the claims of a task that need no model, and its tables by name."""
    evidence = evidence_from(
        archived.task,
        archived.completions,
        archived.readings,
        archived.judging,
        archived.seed,
        archived.mixtures,
    )
    costs = training_and_decoding(_aligned(archived), _parents(archived, "samples/*/decoding.json"))
    claims = decide(dataclasses.replace(evidence, seconds_saved=seconds_saved(costs)))
    tables = {
        **_of_completions(archived),
        **_of_records(archived),
        "costs": costs,
        "agreement": agreement.table(evidence),
        "controls": under_controls(
            evidence,
            archived.completions,
            archived.readings,
            archived.judging,
            archived.mixtures,
            progress,
        ),
    }
    return claims, tables


def _of_completions(archived: Archived) -> dict[str, pd.DataFrame]:
    """Return the tables that summarise completions and readings."""
    judging, completions = archived.judging, archived.completions
    compared = policies.from_completions(completions, judging)
    prompts = pd.read_parquet(archived.folder / "data/test.parquet")["prompt"]
    first_prompts = prompts[: pick_samples.PROMPTS].tolist()
    tables = {
        "policies": pd.DataFrame([summarize.row(policy, judging) for policy in compared]),
        "lengths": summarize.length_distributions(completions),
        "win_rates": pd.DataFrame(summarize.win_rates(compared, judging)),
        "samples": pick_samples.pick(completions, first_prompts, judging),
    }
    if len(archived.readings.table):
        tables["kl_by_lam"] = kl_by_lam.summarize(archived.readings.table)
    if len(archived.mixtures.table):
        tables["other_references"] = pd.DataFrame(other_references.rows(archived.mixtures))
    if judging.several_rewards:
        points = several_rewards.points(completions, judging)
        tables["several_rewards"] = pd.DataFrame(several_rewards.rows(points))
    return tables


def _of_records(archived: Archived) -> dict[str, pd.DataFrame]:
    """Return the tables that gather what single jobs have recorded."""
    lines = []
    for folder in [archived.folder / "models/reference", *_aligned(archived)]:
        lines += collect_training.rows(job.read_json(folder / "training.json"))
    tables = {"training": pd.DataFrame(lines)}
    curves = [pd.read_csv(path) for path in archived.files("curves/**/*.csv")]
    if curves:
        tables["curves"] = pd.concat(curves, ignore_index=True)
    return tables


def _aligned(archived: Archived) -> list[Path]:
    """Return the folders of the aligned models."""
    return _parents(archived, "models/*/beta=*/seed=*/training.json")


def _parents(archived: Archived, pattern: str) -> list[Path]:
    return [path.parent for path in archived.files(pattern)]
