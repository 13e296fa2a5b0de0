"""The claims of a study as its front page shows them: the first table, and a section for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import pandas as pd

from eval import front_table
from eval.claims import REPRODUCED
from eval.gather_claims import PARTS, shown


class FrontRow(TypedDict):
    """What the paper claims, how often each verdict was given, one number, and its claim."""

    text: str
    verdicts: dict[str, int]
    number: str
    anchor: str


class Condition(TypedDict):
    """One condition of a criterion: what was measured, and the threshold that decides."""

    what: str
    value: str
    interval: str
    threshold: str
    outcome: str


class BrokenBy(TypedDict):
    """A control that aims at a claim, and the verdict that the claim got under it."""

    control: str
    what: str
    verdict: str


class Table(TypedDict):
    """A table of the evidence, as text."""

    title: str
    names: list[str]
    rows: list[list[str]]


class Section(TypedDict):
    """One claim; `figure` is its path below the folder of figures."""

    id: str
    anchor: str
    claim: str
    task: str | None
    verdict: str
    numbers: str
    source: str
    criterion: str
    conditions: list[Condition]
    broken_by: list[BrokenBy]
    evidence: dict[str, str]
    tables: list[Table]
    figure: str | None


class Group(TypedDict):
    """Claims under one heading: about one claim of the paper, or one part of our own."""

    title: str
    papers: bool
    claims: list[Section]


def front_rows(claims: list[dict[str, Any]]) -> list[FrontRow]:
    """Return the rows of the first table. The number is that of the claim that fared worst."""
    rows: list[FrontRow] = []
    for text, ours in front_table.of_paper(claims):
        worst = front_table.furthest(ours)
        rows.append(
            {
                "text": text,
                "verdicts": front_table.counts(ours),
                "number": front_table.brief(worst),
                "anchor": front_table.anchor(worst),
            }
        )
    return rows


def groups(claims: list[dict[str, Any]], controlled: pd.DataFrame) -> list[Group]:
    """Return every claim once: the paper's in its order, then the other ones, part by part.

    Args:
        claims: all claims of the study.
        controlled: the table of `eval.controls`.
    """
    result: list[Group] = []
    placed = set()
    for text, ours in front_table.of_paper(claims):
        placed.update(claim["id"] for claim in ours)
        result.append(_group(text, True, ours, controlled))
    for part, title in PARTS.items():
        ours = [claim for claim in claims if claim["part"] == part and claim["id"] not in placed]
        if ours:
            result.append(_group(title, False, ours, controlled))
    return result


def _group(
    title: str, papers: bool, claims: list[dict[str, Any]], controlled: pd.DataFrame
) -> Group:
    sections = [section(claim, controlled) for claim in claims]
    return {"title": title, "papers": papers, "claims": sections}


def section(claim: Mapping[str, Any], controlled: pd.DataFrame) -> Section:
    """Return what the page says about one claim."""
    evidence: dict[str, str] = {}
    tables: list[Table] = []
    for name, value in claim["evidence"].items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            tables.append(_table(name, value))
        else:
            evidence[name] = shown(value)
    return {
        "id": claim["id"],
        "anchor": front_table.anchor(claim),
        "claim": claim["claim"],
        "task": claim["task"],
        "verdict": claim["verdict"],
        "numbers": claim["headline"],
        "source": claim["source"],
        "criterion": claim["criterion"],
        "conditions": [_condition(row) for row in claim["evidence"].get("conditions", [])],
        "broken_by": _broken_by(claim["id"], controlled),
        "evidence": evidence,
        "tables": tables,
        "figure": claim["figure"],
    }


def _condition(row: Mapping[str, Any]) -> Condition:
    """Return one row of a claim's conditions, whose interval is of 90%."""
    low, high = shown(row["low (90%)"]), shown(row["high (90%)"])
    return {
        "what": row["condition"],
        "value": shown(row["value"]),
        "interval": f"{low} to {high}",
        "threshold": shown(row["threshold"]),
        "outcome": row["outcome"],
    }


def _broken_by(name: str, controlled: pd.DataFrame) -> list[BrokenBy]:
    """Return what became of a reproduced claim under the controls that aim at it."""
    aimed = controlled[controlled["aimed"].astype(bool) & (controlled["claim"] == name)]
    rows = aimed[aimed["before"] == REPRODUCED].to_dict("records")
    broken: list[BrokenBy] = []
    for row in rows:
        broken.append(
            {
                "control": row["control"],
                "what": row["what is broken"],
                "verdict": row["under the control"],
            }
        )
    return broken


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0])
    return {
        "title": title,
        "names": names,
        "rows": [[shown(row[name]) for name in names] for row in rows],
    }
