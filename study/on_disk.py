"""Compare what is on disk with the config that claims it, and say what was made otherwise.

Snakemake notes with which settings it made a file, in the folder `.snakemake`. Where that folder is
missing it takes every file for what the config says. So each model and each decoding records its
own settings and its seed, and each job leaves its settings beside its log. What differs from the
config stops the study, unless Snakemake has a note on it and will make it again by itself.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import settings
from study.other_references import OTHER
from study.plan import Plan, TaskPlan

#: The record beside the splits of a task's data, which `training.data` writes.
OF_DATA = "made_with.json"
#: A message names so many files at most.
MOST_NAMED = 5
#: Where Snakemake keeps its notes. The note on a file is named after its path, in Base64.
NOTES = Path(".snakemake/metadata")
#: Snakemake puts the note on a file of a longer name elsewhere.
LONGEST_NAME = 254


@dataclass(frozen=True)
class Expected:
    """What one job makes, and what it is to be made with.

    Attributes:
        output: the file or folder that the job makes.
        record: the JSON file that says what it was made with.
        keys: what the record must say, by the keys of the record; the empty key is all of it.
    """

    output: Path
    record: Path
    keys: Mapping[str, Any]


def made_otherwise(plan: Plan, results: Path) -> dict[Path, str]:
    """Return the outputs that were made with other settings or seeds than the config says.

    An output without a record, or whose record cannot be read, is taken for right: nothing is known
    of it.

    Args:
        plan: the study.
        results: the folder of its results.

    Returns:
        For each such output what differs, such as "seed 0, not 1".
    """
    found = {}
    for expected in _expected(plan, results):
        difference = _difference(expected)
        if difference and expected.output.exists():
            found[expected.output] = difference
    return found


def check_or_exit(plan: Plan, results: Path) -> None:
    """End the process if results are not the config's, and Snakemake would leave them as they are.

    Args:
        plan: the study.
        results: the folder of its results, relative to the working folder as Snakemake has it.
    """
    found = made_otherwise(plan, results)
    unknown = {path: what for path, what in found.items() if not _has_note(path)}
    if unknown:
        print(f"error: {message(results, unknown)}", file=sys.stderr)
        sys.exit(1)


def message(results: Path, found: Mapping[Path, str]) -> str:
    """Return what is said of results that this config does not describe."""
    named = [f"{path} was made with {what}" for path, what in list(found.items())[:MOST_NAMED]]
    more = len(found) - len(named)
    rest = f", and so were {more} more" if more else ""
    return (
        f"this config does not describe what is in {results}: {'; '.join(named)}{rest}. Give the "
        f"study another name, or the config that made the results, or delete {results}."
    )


def _has_note(output: Path) -> bool:
    """Whether Snakemake knows what an output was made with, and so makes it again by itself."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    return (NOTES / name).is_file() or len(name) > LONGEST_NAME


def _difference(expected: Expected) -> str:
    """Return what a record says that it should not, or an empty text."""
    try:
        record = json.loads(expected.record.read_text(encoding="utf-8"))
        for key, value in expected.keys.items():
            there = record[key] if key else record
            if there == _as_json(value):
                continue
            if isinstance(value, Mapping):
                return "other settings"
            return f"{key} {there}, not {value}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return ""


def _as_json(value: Any) -> Any:
    """Return a value as JSON gives it back, with lists for tuples and texts for keys."""
    return json.loads(json.dumps(value))


def _expected(plan: Plan, results: Path) -> Iterator[Expected]:
    """Yield every job whose settings are on record, the earliest first."""
    for task in plan.tasks.values():
        folder = results / task.name
        yield from _data(plan, task, folder)
        yield from _models(plan, task, folder)
        yield from _decodings(task, folder)
        yield from _of_logs(plan, task, folder)
    # The study's own file holds the whole config.
    manifest = results / "manifest.json"
    yield Expected(manifest, manifest, {"config": plan.config})


def _data(plan: Plan, task: TaskPlan, folder: Path) -> Iterator[Expected]:
    """Yield the documents of a task, and those of another reference."""
    made_with = settings.of_task(task, "corpus")
    seeds = {"data": plan.seed}
    if OTHER in task.mixed_references and not task.writes_demonstrations:
        seeds["data/other"] = task.seed_of("other documents")
    for place, seed in seeds.items():
        record = folder / place / OF_DATA
        yield Expected(
            folder / place / "train.parquet", record, {"seed": seed, "settings": made_with}
        )


def _models(plan: Plan, task: TaskPlan, folder: Path) -> Iterator[Expected]:
    """Yield the models of a task, which have a record of their own."""
    models = folder / "models"
    reference = settings.of_task(task, "model", "sft")
    yield _model(models / "reference", seed=plan.seed, settings=reference)
    if OTHER in task.mixed_references:
        seed = task.seed_of("other reference")
        yield _model(models / "other_reference", seed=seed, settings=reference)
    if task.has_learned_reward:
        yield _model(models / "reward", seed=plan.seed, settings=task.section["reward_model"])
    for run in task.runs:
        is_loaded = task.objectives[run.objective].is_loaded
        make = settings.loading_aligned if is_loaded else settings.aligning
        yield _model(
            models / run.folder,
            objective=run.objective,
            beta=run.beta,
            seed=run.seed,
            settings=make(task, run),
        )


def _model(folder: Path, **keys: Any) -> Expected:
    return Expected(folder, folder / "training.json", keys)


def _decodings(task: TaskPlan, folder: Path) -> Iterator[Expected]:
    """Yield the completions of each policy, which have a record of their own."""
    for name, decoding in task.decodings.items():
        samples = folder / "samples" / name
        keys = {"seed": decoding.seed, "settings": settings.decoding(task, name)}
        yield Expected(samples, samples / "decoding.json", keys)


def _of_logs(plan: Plan, task: TaskPlan, folder: Path) -> Iterator[Expected]:
    """Yield the tables of a task, whose settings lie beside the log of the job."""
    for objective, seed in task.readings:
        name = f"{objective.name}-seed={seed}"
        output = folder / f"readings/{name}.parquet"
        yield _table(
            output, folder, f"read_completions/{name}", settings.reading(task, objective, seed)
        )
    for run in task.curve_runs:
        output = folder / f"curves/{run.objective}/{run.beta}/seed={run.seed}.csv"
        yield _table(
            output, folder, f"estimate_curve/{run.name}", settings.estimating_curve(plan, task)
        )
    if task.has_other_references:
        for seed in task.main_objective.seeds:
            output = folder / f"reference_trials/seed={seed}.parquet"
            trying = settings.trying_references(task, seed)
            yield _table(output, folder, f"reference_trial/seed={seed}", trying)
    tables = folder / "tables"
    yield _table(
        tables / "completions.parquet", folder, "score_completions", settings.scoring(task)
    )
    judging = settings.judging(plan, task)
    yield _table(tables / "policies.csv", folder, "summarize_policies", judging)
    yield _table(folder / "claims.json", folder, "decide_claims", judging)


def _table(output: Path, folder: Path, log: str, made_with: Mapping[str, Any]) -> Expected:
    return Expected(output, folder / f"logs/{log}.settings.json", {"": made_with})
