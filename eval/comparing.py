"""Compare what follows from a study's archived tables with what the study says.

A study says it in its claims.json, in the claims.json of each task, in its tables and on the page
claims.md; once more in a folder of docs/, if it is published. Each comparison returns how many
things it compared, and a line for each that differs.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from eval import kl_by_lam
from eval.difference import in_tables, in_values, read_csv
from eval.gather_claims import front_page
from eval.rederive import Derived
from study import job, settings
from study.pack import CRITERIA
from study.plan import Plan

#: What is compared of a claim; the verdict comes first, because the first difference is shown.
FIELDS = ("verdict", "headline", "brief", "evidence", "claim", "criterion")
FIELDS += ("part", "about", "task", "must_hold")
#: What is not compared where a claim says how small an error of rounding was.
OF_ROUNDING = {"headline", "brief", "evidence"}
#: The claim of each task for which its models have to be run.
NEEDS_MODELS = "per-token-identity"
#: Tables whose rows may stand in another order, and what tells these apart; None is all columns.
ANY_ORDER = {"kl_by_lam": kl_by_lam.KEYS, "training": None, "curves": None}
#: Files that `publish` copies as they are.
COPIED = ("manifest.json", "claims.md", "questions.md")
#: Tables that `publish` copies, too.
COPIED_TABLES = ("policies.csv", "agreement.csv")


@dataclass
class Compared:
    """How many things of one kind were compared, and a line for each that differs."""

    count: int = 0
    differences: list[str] = field(default_factory=list)


def claims(written: list[dict[str, Any]], derived: Derived, source: str) -> Compared:
    """Compare claims with those that follow from the tables.

    Args:
        written: the content of a claims.json.
        derived: what follows from the tables.
        source: which claims.json it is, for the lines.
    """
    result = Compared(len(derived.claims))
    by_id = {claim["id"]: claim for claim in written}
    for claim in derived.claims:
        name = claim["id"]
        if name not in by_id:
            result.differences.append(f"{name}: it follows from the tables but is not in {source}")
            continue
        compared = [key for key in FIELDS if not (claim["must_hold"] and key in OF_ROUNDING)]
        found = []
        for key in compared:
            found += in_values(by_id[name].get(key), claim[key], key)
        if found:
            more = f" (and {len(found) - 1} more differences)" if len(found) > 1 else ""
            result.differences.append(f"{name}: {found[0].said(source)}{more}")

    # what is written beside them, and must be there
    tasks = dict.fromkeys(claim["task"] for claim in derived.claims if claim["task"])
    for name in [f"{task}-{NEEDS_MODELS}" for task in tasks]:
        if name not in by_id:
            result.differences.append(f"{name}: it is not in {source}, but every task has it")
    known = {claim["id"] for claim in derived.claims} | set(needs_models(written))
    for name, times in collections.Counter(claim["id"] for claim in written).items():
        if name not in known:
            result.differences.append(f"{name}: it is in {source} but follows from no table")
        elif times > 1:
            result.differences.append(f"{name}: it is in {source} {times} times")
    return result


def needs_models(written: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the claims for which models have to be run, one for each task."""
    tasks = dict.fromkeys(claim["task"] for claim in written if claim["task"])
    wanted = [f"{task}-{NEEDS_MODELS}" for task in tasks]
    return [name for name in wanted if name in {claim["id"] for claim in written}]


def tables(folder: Path, derived: Derived) -> Compared:
    """Compare every table of a study with what was derived; a table it does not have is left out.

    Args:
        folder: the folder of the unpacked study.
        derived: what follows from the tables.
    """
    result = Compared()
    for name, table in derived.tables.items():
        path = folder / name
        if path.is_file():
            result.count += 1
            result.differences += _table(path, table, name)
    return result


def other_tables(folder: Path, derived: Derived) -> list[str]:
    """Return the tables of a study that were not derived, such as the one of measured seconds."""
    paths = [*folder.glob("tables/*.csv"), *folder.glob("*/tables/*.csv")]
    names = {path.relative_to(folder).as_posix() for path in paths}
    return sorted(names - set(derived.tables))


def _table(path: Path, derived: pd.DataFrame, source: str) -> list[str]:
    """Return a line if a table differs from what was derived."""
    written = read_csv(path)
    order: list[str] = []
    if path.stem in ANY_ORDER:
        order = ANY_ORDER[path.stem] or list(written.columns)
    found = [difference.said(source) for difference in in_tables(written, derived, order)]
    more = f" (and {len(found) - 1} more columns)" if len(found) > 1 else ""
    return [found[0] + more] if found else []


def pages(folder: Path, tasks: list[str], study: str) -> Compared:
    """Compare claims.md and the claims of each task with the study's claims.json."""
    written = job.read_json(folder / "claims.json")
    result = Compared(1 + len(tasks))
    for task in tasks:
        of_task = [claim for claim in written if claim["task"] == task]
        if job.read_json(folder / task / "claims.json") != of_task:
            result.differences.append(f"{task}/claims.json has other claims than claims.json")
    controlled = pd.concat([read_csv(folder / task / "tables/controls.csv") for task in tasks])
    # Criteria that were written after the run are packed, too, and the page then knows of none.
    criteria = [None]
    if (folder / CRITERIA).is_file():
        criteria.append(job.read_json(folder / CRITERIA))
    made = [front_page(study, written, controlled, known) for known in criteria]
    page = (folder / "claims.md").read_text(encoding="utf-8")
    if page not in made:
        result.differences.append(f"claims.md: {_first_line(page, made[-1])}")
    return result


def _first_line(page: str, made: str) -> str:
    """Return in words at which line two pages differ first."""
    lines, others = page.splitlines(), made.splitlines()
    pairs = enumerate(zip(lines, others, strict=False), start=1)
    number = next((place for place, (one, other) in pairs if one != other), None)
    if number is None:
        return f"it has {len(lines)} lines, but claims.json gives {len(others)}"
    return f"its line {number} is not what claims.json gives: {lines[number - 1][:100]!r}"


def judging(folder: Path, plan: Plan) -> Compared:
    """Compare the settings that the claims were decided with with those that the config gives."""
    result = Compared(len(plan.tasks))
    for name, task in plan.tasks.items():
        written = job.read_json(folder / name / "logs/decide_claims.settings.json")
        of_config = json.loads(json.dumps(settings.judging(plan, task)))
        for difference in in_values(written, of_config):
            result.differences.append(
                f"{name}/logs/decide_claims.settings.json: {difference.place} is "
                f"{difference.written!r}, but the config gives {difference.derived!r}"
            )
    return result


def published(folder: Path, derived: Derived, against: Path) -> Mapping[str, Compared]:
    """Compare a published folder with what was derived, and with files of the pack.

    Args:
        folder: the folder of the unpacked study.
        derived: what follows from its tables.
        against: a folder that `publish` made, such as docs/laptop.
    """
    of_tables, copies = Compared(), Compared()
    for name in COPIED_TABLES:
        if (against / name).is_file():
            of_tables.count += 1
            table = derived.tables[f"tables/{name}"]
            of_tables.differences += _table(against / name, table, str(against / name))
    for name in COPIED:
        if (against / name).is_file():
            copies.count += 1
            packed = folder / name
            if not packed.is_file() or packed.read_bytes() != (against / name).read_bytes():
                copies.differences.append(f"{against / name} is not the {name} of the pack")
    source = str(against / "claims.json")
    of_claims = claims(job.read_json(against / "claims.json"), derived, source)
    return {"claims": of_claims, "tables": of_tables, "files": copies}
