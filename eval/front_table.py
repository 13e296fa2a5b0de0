"""What the first tables of a study's pages are made of: its claims beside those of the paper."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

from eval.claims import FAILED, INCONCLUSIVE, PAPER, REPRODUCED, UNTESTED, VERDICTS

#: The chapters of the report: what the paper claims, in its order, and then what is ours.
CHAPTERS = {
    "exact": "1 geometric mixtures",
    "interpolation": "2 agreement below lam = 1",
    "extrapolation": "3 agreement above lam = 1",
    "smooth": "4 smooth change",
    "strength": "5 better strengths",
    "hallucination": "6 hallucination",
    "chat": "7 chat",
    "cost": "8 cost",
    "hacking": "9 hacking",
}
CHAPTERS_OF_OURS = {"paper": "Others", "limit": "Limits", "premise": "Premises and checks"}


def chapter(claim: dict[str, Any]) -> str:
    """Return the chapter of the report that a claim belongs to."""
    return CHAPTERS.get(claim["about"]) or CHAPTERS_OF_OURS[claim["part"]]


def of_paper(claims: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield what the paper claims, in its order, with our claims about it, if there are any."""
    claims = list(claims)
    for about, text in PAPER.items():
        ours = [claim for claim in claims if claim["about"] == about]
        if ours:
            yield text, ours


def counts(claims: list[dict[str, Any]]) -> dict[str, int]:
    """Return how often each verdict was given, without those that were not."""
    given = collections.Counter(claim["verdict"] for claim in claims)
    return {name: given[name] for name in VERDICTS if given[name]}


def counted(claims: list[dict[str, Any]]) -> str:
    """Return how often each verdict was given, as Markdown."""
    return ", ".join(f"**{name}** {count}" for name, count in counts(claims).items())


def furthest(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the claim that is furthest from being reproduced.

    A claim that was not tested has no number to show, and is returned only if none was tested.
    """
    order = [UNTESTED, REPRODUCED, INCONCLUSIVE, FAILED]
    return max(claims, key=lambda claim: order.index(claim["verdict"]))


def brief(claim: dict[str, Any] | None) -> str:
    """Return a claim's number in a few words, if there is a claim and it has one."""
    return (claim["brief"] if claim else "") or "no number"


def anchor(claim: dict[str, Any]) -> str:
    """Return the name of a claim's section, which links to it end in."""
    return claim["id"].replace(".", "")


def link(claim: dict[str, Any], page: str = "") -> str:
    """Return a link to a claim's section, which is on this page or on another one."""
    return f"[`{claim['id']}`]({page}#{anchor(claim)})"


def for_report(study: str, claims: Iterable[dict[str, Any]], note: str = "") -> str:
    """Return the first page of the Snakemake report, as reStructuredText: the rows of the table.

    Args:
        study: the study's name.
        claims: all claims of the study.
        note: what has to be said before the table, such as that the study is too small to judge.
    """
    lines = [f"What the paper claims, and what came out in the study ``{study}``."]
    if note:
        lines += ["", f"**{note}**"]
    lines += ["", ".. list-table::", "   :header-rows: 1", ""]
    lines += _row_of_rst("The paper claims", "Our verdicts", "A number", "Chapter")
    for text, ours in of_paper(claims):
        verdicts = ", ".join(f"**{name}** {count}" for name, count in counts(ours).items())
        lines += _row_of_rst(text, verdicts, brief(furthest(ours)), chapter(ours[0]))
    lines += [
        "",
        "Each chapter of this report has the claims about one row, with criterion, interval and",
        "verdict. The chapters *Limits* and *Premises and checks* have claims of our own.",
    ]
    return "\n".join(lines) + "\n"


def _row_of_rst(*cells: str) -> list[str]:
    """Return a row of a list-table."""
    first, *others = cells
    return [f"   * - {first}", *(f"     - {cell}" for cell in others)]


def for_terminal(claims: Iterable[dict[str, Any]]) -> str:
    """Return the rows of the table as text: what the paper claims, and below it what came out."""
    lines = []
    for text, ours in of_paper(claims):
        verdicts = ", ".join(f"{name} {count}" for name, count in counts(ours).items())
        lines += [text, f"    {verdicts}; {brief(furthest(ours))}"]
    return "\n".join(lines)
