"""The study's front page has every claim of every task, and its tables every row."""

import dataclasses
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

from eval import criteria, gather_claims, gather_table
from eval.claims import (
    FAILED,
    PAPER,
    VERDICTS,
    agreement,
    breakdown,
    hacking,
    hallucination,
    identities,
    strength,
    transition,
)
from eval.front_table import for_terminal
from eval.gather_claims import front_page, shown
from tests.eval import synthetic
from tests.eval.synthetic import World, evidence

LAMS = ["-1", "0", "1/4", "1/2", "3/4", "1", "2"]


def as_json(claim) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(claim)))


def claims_of(task: str, world: World, module, **more) -> list[dict]:
    known = evidence(["0.25", "0.5", "1"], "0.5", LAMS, prompts=60, worlds=[world], **more)
    return [as_json(claim) for claim in module.decide(dataclasses.replace(known, task=task))]


@pytest.fixture(scope="module")
def claims() -> list[dict]:
    made = [as_json(identities.exact(0))]
    made += claims_of(
        "length",
        synthetic.LENGTH,
        agreement,
        retrained=lambda world, beta: world.optimum(0.1 * beta),
    )
    made += claims_of("length", synthetic.LENGTH, transition)
    made += claims_of("length", synthetic.LENGTH, breakdown)
    made += claims_of("summarization", synthetic.HACKED, strength)
    made += claims_of("summarization", synthetic.HACKED, hacking)
    made += claims_of("hallucination", synthetic.INVENTING, hallucination)
    return made


@pytest.fixture(scope="module")
def page(claims) -> str:
    return front_page("paper", claims)


def section(page: str, claim: dict) -> str:
    """What stands on the page under a claim's own heading."""
    return page.split(f"\n## {claim['id']}\n")[1].split("\n## ")[0]


def test_every_claim_stands_in_a_table_and_has_a_section_with_all_its_numbers(claims, page):
    lines = page.splitlines()
    for claim in claims:
        [line] = [
            line
            for line in lines
            if f"[`{claim['id']}`]" in line and line.startswith(f"| {claim['claim']}")
        ]
        assert f"**{claim['verdict']}**" in line
        assert claim["headline"] in line
        under_heading = section(page, claim)
        for text in (
            claim["claim"],
            claim["source"],
            claim["criterion"],
            f"**{claim['verdict']}**",
        ):
            assert text in under_heading
        for name, value in claim["evidence"].items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                for row in value:
                    assert (
                        f"| {' | '.join(shown(number) for number in row.values())} |"
                        in under_heading
                    )
            else:
                assert f"- {name}: {shown(value)}" in under_heading
        if claim["figure"]:
            assert f"(figures/{claim['figure']}.png)" in under_heading


def test_failures_are_printed_as_failures(claims, page):
    failed = [claim for claim in claims if claim["verdict"] == FAILED]
    assert failed
    for claim in failed:
        assert f"**not reproduced**: {claim['claim']}" in section(page, claim)


def test_the_first_table_is_short_and_counts_the_verdicts_of_the_papers_claims(claims, page):
    top = page.split("\n## ")[0]
    rows = [line for line in top.splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if not row.startswith("| ---")]
    assert len(rows) <= 10
    claimed = {claim["about"] for claim in claims}
    for about, text in PAPER.items():
        [line] = [row for row in rows if row.startswith(f"| {text} |")] or [None]
        assert (line is not None) == (about in claimed)
        for verdict in VERDICTS:
            count = sum(claim["verdict"] == verdict for claim in claims if claim["about"] == about)
            assert (f"**{verdict}** {count}" in (line or "")) == (count > 0)
    for row in rows:
        for cell in row.strip("|").split("|"):
            without_links = re.sub(r"\(\[.*", "", cell)
            assert len(without_links.split()) <= 13


def test_the_terminal_shows_the_rows_of_the_first_table(claims):
    lines = for_terminal(claims).splitlines()
    claimed = [text for about, text in PAPER.items() if about in {c["about"] for c in claims}]
    assert lines[::2] == claimed
    for text, line in zip(claimed, lines[1::2], strict=True):
        [about] = [about for about in PAPER if PAPER[about] == text]
        ours = [claim for claim in claims if claim["about"] == about]
        for verdict in VERDICTS:
            count = sum(claim["verdict"] == verdict for claim in ours)
            assert (f"{verdict} {count}" in line.split(";")[0]) == (count > 0)
        assert line.split("; ", 1)[1] in [claim["brief"] or "no number" for claim in ours]


def test_changed_and_new_criteria_are_named(claims):
    written = criteria.criteria(claims)
    assert "has not changed since" in front_page("paper", claims, None, written)
    written[0]["criterion"] = "another one"
    page = front_page("paper", claims, None, written[:-1])
    assert f"new: `{claims[-1]['id']}`; changed: `{claims[0]['id']}`" in page
    assert "No criteria" in front_page("paper", claims)


def test_the_page_of_criteria_has_the_smallest_power_of_each_claim(claims):
    written = criteria.criteria(claims)
    page = criteria.page("paper", written)
    for claim, kept in zip(claims, written, strict=True):
        [line] = [line for line in page.splitlines() if f"(`{claim['id']}`)" in line]
        assert claim["criterion"] in line
        powers = []
        for condition in claim["evidence"].get("conditions", []):
            if condition["power"] is not None:
                powers.append(condition["power"])
        shown_power = f"{min(powers):.2f}" if powers else "-"
        assert line.endswith(f"| {shown_power} |")
        assert criteria.smallest_power(kept) == min(powers, default=None)


def test_the_page_shows_what_became_of_claims_under_controls(claims):
    table = pd.DataFrame(
        {
            "control": ["lam ignored"] * 2,
            "what is broken": ["DeRa ignores lam."] * 2,
            "claim": ["a", "b"],
            "aimed": [True, True],
            "before": ["reproduced"] * 2,
            "under the control": ["not reproduced", "reproduced"],
        }
    )
    page = front_page("paper", claims, table)
    assert "| lam ignored | DeRa ignores lam. | 2 | 1 (`b`) | " in page


def test_links_lead_to_the_headings(claims, page):
    """GitHub names the target of a link after the heading, without its dots."""
    for claim in claims:
        assert f"(#{claim['id'].replace('.', '')})" in page
        assert f"## {claim['id']}\n" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (0.12345, "0.123"),
        (3, "3"),
        ("1/4", "1/4"),
        ({"value": 0.5, "low": -0.25, "high": 1.0}, "+0.500 [-0.250, +1.000]"),
        ([0.5, None, 2], "0.5, -, 2"),
        ({"Spearman": None, "largest step": 0.25}, "Spearman -; largest step 0.25"),
    ],
)
def test_values_of_the_evidence_as_text(value, text):
    assert shown(value) == text


def test_claims_of_all_tasks_are_gathered_after_those_of_the_study(tmp_path, monkeypatch, claims):
    paths = [tmp_path / "length.json", tmp_path / "summarization.json"]
    for path in paths:
        path.write_text(json.dumps([claim for claim in claims if claim["task"] == path.stem]))
    repeat = {"one model": 1.0, "two models": 1.9, "wall over processor": 1.0}
    sizes = {"model bytes": 100, "pair bytes": 200, "adapter bytes": 5}
    pd.DataFrame([{**repeat, **sizes}] * 5).to_csv(tmp_path / "timings.csv", index=False)
    argv = ["gather_claims", *map(str, paths), "--study", "paper"]
    argv += ["--timings", str(tmp_path / "timings.csv")]
    argv += ["--output", str(tmp_path / "claims.json")]
    monkeypatch.setattr(sys, "argv", argv)
    gather_claims.main()
    gathered = json.loads((tmp_path / "claims.json").read_text())
    of_tasks = [claim["id"] for claim in claims if claim["task"] in ("length", "summarization")]
    ids = [claim["id"] for claim in gathered]
    assert ids == ["exact-identity", "decoding-time", "memory", *of_tasks]
    assert (tmp_path / "claims.md").read_text() == front_page("paper", gathered)


def test_tables_of_the_tasks_become_one_in_the_order_of_the_tasks(tmp_path, monkeypatch):
    tables = {
        "length": pd.DataFrame(
            {"kind": ["reference", "dera"], "lam": [np.nan, 0.5], "gold": [-1.0, 0.0]}
        ),
        "safety": pd.DataFrame(
            {"kind": ["reference"], "lam": [np.nan], "gold": [-0.5], "refused_harmful": [0.08]}
        ),
    }
    for task, table in tables.items():
        table.to_csv(tmp_path / f"{task}.csv", index=False)
    paths = [str(tmp_path / f"{task}.csv") for task in tables]
    argv = ["gather_table", *paths, "--tasks", *tables, "--output", str(tmp_path / "all.csv")]
    monkeypatch.setattr(sys, "argv", argv)
    gather_table.main()
    table = pd.read_csv(tmp_path / "all.csv")
    assert table.columns.tolist() == ["task", "kind", "lam", "gold", "refused_harmful"]
    assert table["task"].tolist() == ["length", "length", "safety"]
    for task, expected in tables.items():
        of_task = table[table["task"] == task].reset_index(drop=True)
        pd.testing.assert_frame_equal(of_task[expected.columns], expected)
    # the first task does not have this measure
    assert table["refused_harmful"].isna().tolist() == [True, True, False]
