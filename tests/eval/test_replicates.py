"""Verdicts of several runs are set side by side; only those that all runs share are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eval.claims import FAILED, PAPER, REPRODUCED, UNTESTED
from eval.replicates import ABSENT, INCONCLUSIVE, compare, page, papers_claims, summary

ROOT = Path(__file__).parents[2]


def claims(**verdicts: str) -> list[dict]:
    """Claims of the task `length`, as claims.json has them. All are about smoothness."""
    common = {"task": "length", "about": "smooth"}
    return [
        {**common, "id": name, "verdict": given, "brief": f"{name} is {given}"}
        for name, given in verdicts.items()
    ]


@pytest.mark.parametrize(
    ("verdicts", "together", "differs"),
    [
        ((REPRODUCED, REPRODUCED), REPRODUCED, False),
        ((FAILED, FAILED), FAILED, False),
        ((UNTESTED, UNTESTED), UNTESTED, False),
        ((INCONCLUSIVE, INCONCLUSIVE), INCONCLUSIVE, False),
        ((REPRODUCED, FAILED), INCONCLUSIVE, True),
        ((FAILED, REPRODUCED), INCONCLUSIVE, True),
        ((REPRODUCED, INCONCLUSIVE), INCONCLUSIVE, False),
        ((INCONCLUSIVE, FAILED), INCONCLUSIVE, False),
        ((REPRODUCED, UNTESTED), INCONCLUSIVE, False),
        ((REPRODUCED, REPRODUCED, FAILED), INCONCLUSIVE, True),
        ((REPRODUCED, REPRODUCED, INCONCLUSIVE), INCONCLUSIVE, False),
    ],
)
def test_a_claim_keeps_the_verdict_that_every_run_gives_it(verdicts, together, differs):
    [row] = compare([claims(smooth=verdict) for verdict in verdicts])
    assert row.together == together
    assert row.differs is differs
    assert row.verdicts == verdicts


def test_claims_are_told_apart_by_task_and_found_in_any_order():
    first = [{"task": None, "id": "cost", "verdict": REPRODUCED}, *claims(cost=FAILED)]
    rows = compare([first, first[::-1]])
    assert [(row.task, row.together) for row in rows] == [(None, REPRODUCED), ("length", FAILED)]


def test_a_claim_that_one_run_lacks_is_inconclusive_and_differs_from_nothing():
    [row] = compare([claims(smooth=REPRODUCED), []])
    assert row.verdicts == (REPRODUCED, ABSENT)
    assert row.together == INCONCLUSIVE
    assert not row.differs


def test_the_summary_counts_what_two_runs_decide_and_names_what_they_decide_differently():
    first = claims(a=REPRODUCED, b=FAILED, c=REPRODUCED, d=INCONCLUSIVE)
    second = claims(a=REPRODUCED, b=REPRODUCED, c=INCONCLUSIVE, d=INCONCLUSIVE)
    text = summary(compare([first, second]))
    assert "Of 4 claims, 2 are decided by at least two runs" in text
    assert text.endswith("1 of these are decided differently: b.")
    assert summary(compare([first, first])).endswith("0 of these are decided differently.")


def test_the_page_has_a_column_for_each_run():
    runs = [claims(a=REPRODUCED), claims(a=FAILED)]
    *_, header, _, row = page(["toy", "toy-replicate=2"], runs).splitlines()
    assert header == "| task | claim | `toy` | `toy-replicate=2` | together |"
    assert row == f"| length | `a` | {REPRODUCED} | {FAILED} | **{INCONCLUSIVE}** |"


def test_the_first_table_counts_the_verdicts_of_all_runs_together_and_shows_each_runs_number():
    first = claims(a=REPRODUCED, b=REPRODUCED, c=FAILED)
    second = claims(a=REPRODUCED, b=FAILED, c=FAILED)
    header, _, row = papers_claims(["one", "two"], [first, second])
    assert header == "| the paper claims | our verdicts | `one` | `two` | claim |"
    assert row == (
        f"| {PAPER['smooth']} | **{REPRODUCED}** 1, **{FAILED}** 1, **{INCONCLUSIVE}** 1 | "
        f"c is {FAILED} | c is {FAILED} | [`c`](claims.md#c) |"
    )


def test_the_number_is_of_a_claim_that_every_run_has_one_for():
    first = claims(a=UNTESTED, b=INCONCLUSIVE, c=REPRODUCED)
    second = claims(a=FAILED, b=REPRODUCED, c=REPRODUCED)
    first[0]["brief"] = ""
    *_, row = papers_claims(["one", "two"], [first, second])
    assert row.endswith(f"| b is {INCONCLUSIVE} | b is {REPRODUCED} | [`b`](claims.md#b) |")


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "eval.replicates", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_prints_and_writes_the_page_and_names_runs_by_their_folders(tmp_path):
    paths = []
    for folder, verdict in (("toy", REPRODUCED), ("toy-replicate=2", FAILED)):
        paths.append(tmp_path / folder / "claims.json")
        paths[-1].parent.mkdir()
        paths[-1].write_text(json.dumps(claims(a=verdict)))
    output = tmp_path / "toy" / "replicates.md"
    result = run(*paths, "--output", output)
    assert result.returncode == 0, result.stderr
    assert result.stdout == output.read_text()
    assert "`toy` | `toy-replicate=2` | together" in result.stdout

    for wrong, message in (
        (paths[:1], "nothing to compare"),
        ([paths[0], paths[0]], "is named twice"),
        ([paths[0], tmp_path / "claims.json"], "does not exist; run `make replicate`"),
    ):
        result = run(*wrong)
        assert result.returncode == 1
        [line] = result.stderr.splitlines()
        assert message in line
