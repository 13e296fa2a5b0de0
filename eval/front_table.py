"""What the first tables of a study's pages are made of: its claims beside those of the paper."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

from eval.claims import FAILED, INCONCLUSIVE, PAPER, REPRODUCED, UNTESTED, VERDICTS


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


def for_terminal(claims: Iterable[dict[str, Any]]) -> str:
    """Return the rows of the table as text: what the paper claims, and below it what came out."""
    lines = []
    for text, ours in of_paper(claims):
        verdicts = ", ".join(f"{name} {count}" for name, count in counts(ours).items())
        lines += [text, f"    {verdicts}; {brief(furthest(ours))}"]
    return "\n".join(lines)
