"""Compare the verdicts of a study's replicates, claim by claim and run by run.

A verdict that another set of seeds turns round says nothing about the method. So a claim keeps its
verdict only if every run gives it the same one, and otherwise it is inconclusive.

Run: python -m eval.replicates results/laptop/claims.json results/laptop-replicate=2/claims.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED
from eval.front_table import brief, counted, furthest, link, of_paper
from study import job
from study.manifest import checksum

#: What stands in the place of a verdict where a run has no such claim.
ABSENT = "absent"

#: The verdicts that decide a claim. The others say that it cannot be decided, or was not tested.
DECIDED = {REPRODUCED, FAILED}


class ReplicatesError(ValueError):
    """Runs that cannot be compared. The message names the file and says what to do."""


@dataclass(frozen=True)
class Row:
    """One claim and the verdict of each run, in the order of the runs."""

    task: str | None
    claim: str
    verdicts: tuple[str, ...]

    @property
    def key(self) -> tuple[str | None, str]:
        """What tells the claim from others."""
        return self.task, self.claim

    @property
    def together(self) -> str:
        """The verdict that all runs give, or that they are inconclusive."""
        return self.verdicts[0] if len(set(self.verdicts)) == 1 else INCONCLUSIVE

    @property
    def is_decided_by_several(self) -> bool:
        """Whether at least two runs decide the claim."""
        return sum(verdict in DECIDED for verdict in self.verdicts) > 1

    @property
    def differs(self) -> bool:
        """Whether one run reproduces the claim and another one does not."""
        return set(self.verdicts) >= DECIDED


def compare(runs: Sequence[Iterable[dict[str, Any]]]) -> list[Row]:
    """Return a row for each claim of any run, in the order in which the claims first occur.

    Args:
        runs: the claims of each run, as `claims.json` has them.
    """
    by_key = [_by_key(claims) for claims in runs]
    rows = []
    for key in dict.fromkeys(key for claims in by_key for key in claims):
        given = tuple(claims[key]["verdict"] if key in claims else ABSENT for claims in by_key)
        rows.append(Row(*key, given))
    return rows


def _by_key(claims: Iterable[dict[str, Any]]) -> dict[tuple[str | None, str], dict[str, Any]]:
    """Return claims by their task and id."""
    return {(claim["task"], claim["id"]): claim for claim in claims}


def summary(rows: Sequence[Row]) -> str:
    """Return in one sentence how many decided verdicts differ between the runs."""
    decided = [row for row in rows if row.is_decided_by_several]
    differing = [row for row in decided if row.differs]
    names = f": {', '.join(row.claim for row in differing)}" if differing else ""
    return (
        f"Of {len(rows)} claims, {len(decided)} are decided by at least two runs, and "
        f"{len(differing)} of these are decided differently{names}."
    )


def papers_claims(names: Sequence[str], runs: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """Return the table of what the paper claims, with one number of each run.

    A verdict is that of all runs together. The numbers are those of one claim: of those that have a
    number in every run, if there are any, the one that is furthest from being reproduced.

    Args:
        names: the names of the runs.
        runs: the claims of each run.
    """
    by_key = [_by_key(claims) for claims in runs]
    claims_together = []
    for row in compare(runs):
        # as the first run that has the claim words it
        claim = next(claims[row.key] for claims in by_key if row.key in claims)
        claims_together.append({**claim, "verdict": row.together})

    header = ["the paper claims", "our verdicts", *(f"`{name}`" for name in names), "claim"]
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    for text, ours in of_paper(claims_together):
        measured = [claim for claim in ours if _has_numbers(claim, by_key)]
        shown = furthest(measured or ours)
        numbers = [brief(claims.get((shown["task"], shown["id"]))) for claims in by_key]
        cells = [text, counted(ours), *numbers, link(shown, "claims.md")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _has_numbers(
    claim: dict[str, Any], by_key: Sequence[dict[tuple[str | None, str], dict[str, Any]]]
) -> bool:
    """Return whether every run has a number for a claim."""
    of_runs = [claims.get((claim["task"], claim["id"])) for claims in by_key]
    return all(of_run and of_run["brief"] for of_run in of_runs)


def page(
    names: Sequence[str],
    runs: Sequence[Sequence[dict[str, Any]]],
    checksums: Sequence[str] = (),
) -> str:
    """Return the comparison as Markdown.

    It has the table of the paper's claims, one sentence on how often the runs differ, and a table
    of all claims with a column for each run.

    Args:
        names: the names of the runs.
        runs: the claims of each run.
        checksums: SHA-256 of the files of claims, by which publishing knows that the page is new.
    """
    rows = compare(runs)
    lines = ["# Verdicts, run by run", "", *papers_claims(names, runs), "", summary(rows), ""]
    header = ["task", "claim", *(f"`{name}`" for name in names), "together"]
    lines += [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    for row in rows:
        cells = [row.task or "all", f"`{row.claim}`", *row.verdicts, f"**{row.together}**"]
        lines.append(f"| {' | '.join(cells)} |")
    if checksums:
        lines += ["", f"SHA-256 of the claims: {', '.join(f'`{name}`' for name in checksums)}."]
    return "\n".join(lines) + "\n"


def read_runs(paths: Sequence[Path]) -> list[list[dict[str, Any]]]:
    """Read the claims of each run.

    Raises:
        ReplicatesError: if there are fewer than two runs, if one is named twice, or if a file is
            missing.
    """
    if len(paths) < 2:
        raise ReplicatesError("there is nothing to compare: name the claims.json of two runs")
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1:
            raise ReplicatesError(f"{path} is named twice; name the claims.json of another run")
        if not path.is_file():
            raise ReplicatesError(f"{path} does not exist; run `make replicate` first")
    return [job.read_json(path) for path in paths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", type=Path, nargs="+", help="claims.json of each run")
    parser.add_argument("--output", type=Path, help="Markdown file for what is printed")
    args = parser.parse_args()
    try:
        runs = read_runs(args.claims)
    except ReplicatesError as error:
        sys.exit(f"error: {error}")
    names = [path.resolve().parent.name for path in args.claims]
    text = page(names, runs, [checksum(path) for path in args.claims])
    print(text, end="")
    if args.output:
        with job.atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
