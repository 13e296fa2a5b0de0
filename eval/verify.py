"""Derive every verdict of a packed study again, and compare it with what the study says.

Run: python -m eval.verify laptop.tar.gz [--against docs/laptop] [--figures figures-again]

A pack that was altered is refused, and the exit status is 2. Otherwise the tables, the claims and
the controls are derived from the completions, readings and records in the pack, without a model.
They are compared with the study's tables, claims.json and claims.md, and the config and manifest
with what they name. Each claim, table or file that differs is a line, and the exit status is 1. It
is 0 if all is equal. `eval.difference` says when numbers are equal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from eval import comparing, redraw
from eval.comparing import Compared
from eval.rederive import Derived, derive
from study import job, replicates, resolve
from study.job import Progress
from study.pack import PackError, changed_since, check_complete, read_manifest, tasks_of
from study.packed import GIGABYTE, MAX_BYTES, read_sums, unpacked
from study.plan import Plan
from study.schema import ConfigError

#: What reading or judging tables raises that are no tables of a study.
UNUSABLE = (LookupError, ValueError, TypeError, OSError, ArithmeticError, AttributeError)
UNUSABLE += (RuntimeError, StopIteration)


def verify(folder: Path, against: Path | None, figures: Path | None, progress: Progress) -> bool:
    """Derive what follows from an unpacked study, print what differs, and return if nothing does.

    Args:
        folder: the folder of the unpacked study.
        against: a folder that `publish` made, or None.
        figures: a folder for the figures, or None.
        progress: is told what is done.

    Raises:
        PackError: if the pack lacks a file, or its tables cannot be judged.
    """
    manifest = read_manifest(folder)
    check_complete(folder, tasks_of(manifest))
    if against is not None and not (against / "claims.json").is_file():
        raise PackError(
            f"{against / 'claims.json'} is missing; name the folder of a published study, such as "
            "docs/laptop"
        )
    plan = _plan(manifest)
    if figures is not None and plan is None:
        raise PackError("no figure can be drawn without what the config names; leave out --figures")
    try:
        tasks = in_order(folder, tasks_of(manifest))
        derived = derive(folder, tasks, _seed(manifest), progress)
        compared = _compare(folder, derived, tasks, manifest, plan)
        published = comparing.published(folder, derived, against) if against else {}
    except UNUSABLE as error:
        raise PackError(
            f"the tables of the pack cannot be judged ({type(error).__name__}: {error}); use the "
            f"code that made it, commit {manifest.get('commit')}"
        ) from error

    for result in [*compared.values(), *published.values()]:
        for line in result.differences:
            print(line)
    models = comparing.needs_models(job.read_json(folder / "claims.json"))
    _summarize(compared, models, comparing.other_tables(folder, derived))
    for kind, result in published.items():
        print(f"{against}: {_counted(result, kind, 'compared')}.")
    if figures is not None and plan is not None:
        count = redraw.draw(folder, derived, plan, figures, progress)
        print(f"{count} figures were drawn again in {figures}")
    return not any(result.differences for result in [*compared.values(), *published.values()])


def in_order(folder: Path, tasks: list[str]) -> list[str]:
    """Return the tasks in the order in which claims.json names them first."""
    named = dict.fromkeys(claim["task"] for claim in job.read_json(folder / "claims.json"))
    first = [task for task in named if task in tasks]
    return first + [task for task in tasks if task not in first]


def _compare(
    folder: Path, derived: Derived, tasks: list[str], manifest: dict[str, Any], plan: Plan | None
) -> dict[str, Compared]:
    """Return the comparisons within a pack, by what is compared."""
    sums = read_sums(folder)
    changed = changed_since(manifest, sums)
    compared = {
        "claims": comparing.claims(job.read_json(folder / "claims.json"), derived, "claims.json"),
        "tables": comparing.tables(folder, derived),
        "pages": comparing.pages(folder, tasks, manifest["config"]["study"]),
        "files": Compared(len(sums), [f"{name} is not what the manifest says" for name in changed]),
    }
    if plan is not None:
        compared["settings"] = comparing.judging(folder, plan)
    return compared


def _summarize(compared: dict[str, Compared], models: list[str], others: list[str]) -> None:
    """Print how many things were derived again, how many of them are equal, and what was not.

    Args:
        compared: the comparisons within the pack.
        models: the claims for which models have to be run.
        others: the tables that were not derived.
    """
    line = _counted(compared["claims"], "claims", "re-derived")
    verbs = "needs the models and was" if len(models) == 1 else "need the models and were"
    print(f"{line}; {len(models)} {verbs} not re-derived ({', '.join(models)}).")
    line = _counted(compared["tables"], "tables", "re-derived")
    verb = "was" if len(others) == 1 else "were"
    print(f"{line}; {len(others)} {verb} taken as packed ({', '.join(others)}).")
    rest = [_counted(compared[kind], kind, "checked") for kind in ("pages", "files")]
    if "settings" in compared:
        rest.append(_counted(compared["settings"], "settings of judging jobs", "checked"))
    print(f"{'; '.join(rest)}.")


def _counted(result: Compared, kind: str, done: str) -> str:
    equal = max(result.count - len(result.differences), 0)
    return f"{result.count} {kind} {done}, {equal} equal"


def _plan(manifest: dict[str, Any]) -> Plan | None:
    """Return what the study's config means, or None where it names files that are not here."""
    try:
        return resolve.plan_of(manifest["config"])
    except (ConfigError, OSError) as error:
        print(f"note: the settings are taken as the pack has them, because of its config: {error}")
        return None


def _seed(manifest: dict[str, Any]) -> int:
    """Return the study's seed, to which its replicate adds."""
    config = manifest["config"]
    (seed,) = replicates.of(config).shifted("seed", [config["seed"]])
    return seed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path, help="what study.pack wrote")
    parser.add_argument("--against", type=Path, help="a published folder, such as docs/laptop")
    parser.add_argument("--figures", type=Path, help="draw the figures again into this folder")
    parser.add_argument(
        "--max-gigabytes",
        type=float,
        default=MAX_BYTES / GIGABYTE,
        help="refuse a pack that unpacks to more (default %(default)g)",
    )
    args = parser.parse_args()
    progress = Progress("verify", sys.stderr)
    try:
        with unpacked(args.pack, int(args.max_gigabytes * GIGABYTE)) as folder:
            equal = verify(folder, args.against, args.figures, progress)
    except PackError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
