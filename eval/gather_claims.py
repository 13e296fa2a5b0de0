"""Gather the claims of all tasks, and those of no task, into the study's pages.

The job writes claims.json; claims.md, the study's front page; and questions.md, which answers the
open questions. Both pages are also written as HTML, for the report.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt

from eval import controls, criteria, questions
from eval.claims import cost, identities
from eval.front_table import brief, counted, furthest, link, of_paper
from study import job, modules

STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:75em}"
    "table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}"
    "pre{white-space:pre-wrap}"
)
#: The tables of the page below the one of the paper's claims, by the part that they show.
PARTS = {
    "paper": "Every claim of the paper",
    "limit": "Limits: where it breaks, and what does better",
    "premise": "Premises and checks",
}


def front_page(
    study: str,
    claims: list[dict[str, Any]],
    controlled: pd.DataFrame | None = None,
    written: list[dict[str, Any]] | None = None,
) -> str:
    """Return the study's front page as Markdown.

    The first table has a row for each claim of the paper. Then come the tables of all claims, part
    by part, the table of controls, and the evidence of each claim in a section of its own.

    Args:
        study: its name.
        claims: all claims.
        controlled: the table of `eval.controls`.
        written: the criteria that were written before the run (`eval.criteria`), None where there
            were none.
    """
    lines = [f"# Claims of the study `{study}`", "", *_papers_claims(claims)]
    lines += ["", _criteria_before(claims, written)]
    for part, title in PARTS.items():
        of_part = [claim for claim in claims if claim["part"] == part]
        if of_part:
            lines += ["", f"## {title}", "", *_list(of_part)]
    if controlled is not None and len(controlled):
        lines += ["", *_controls(controlled)]
    for claim in claims:
        lines += ["", f"## {claim['id']}", "", *section(claim)]
        if claim["figure"]:
            lines += ["", f"Figure: [`{claim['figure']}`](figures/{claim['figure']}.png)"]
    return "\n".join(lines) + "\n"


def _papers_claims(claims: list[dict[str, Any]]) -> list[str]:
    """Return the table of what the paper claims, and what our claims say about it."""
    lines = ["| the paper claims | our verdicts | a number |", "| --- | --- | --- |"]
    for text, ours in of_paper(claims):
        lines.append(f"| {text} | {counted(ours)} | {_number(ours)} |")
    return lines


def _criteria_before(claims: list[dict[str, Any]], written: list[dict[str, Any]] | None) -> str:
    """Return whether the criteria are those that were written before the run."""
    if written is None:
        return "No criteria of this study were written down before the run."
    since = criteria.changes(claims, written)
    if not any(since.values()):
        return "Every criterion was written down before the run and has not changed since."
    said = []
    for how, ids in since.items():
        if ids:
            said.append(f"{how}: {', '.join(f'`{name}`' for name in ids)}")
    return f"Since the criteria were written down before the run, some are {'; '.join(said)}."


def _number(claims: list[dict[str, Any]]) -> str:
    """Return a number of the claim that is furthest from being reproduced, with a link to it."""
    shown_claim = furthest(claims)
    return f"{brief(shown_claim)} ({link(shown_claim)})"


def _list(claims: list[dict[str, Any]]) -> list[str]:
    """Return the table of some claims, each with a link to its section."""
    lines = ["| claim | verdict | numbers |", "| --- | --- | --- |"]
    for claim in claims:
        verdict = f"**{claim['verdict']}**"
        lines.append(f"| {claim['claim']} ({link(claim)}) | {verdict} | {claim['headline']} |")
    return lines


def _controls(controlled: pd.DataFrame) -> list[str]:
    """Return the section on controls: what became of the claims that each of them aims at."""
    lines = [
        "## Controls",
        "",
        "Each control breaks the evidence on purpose, and the claims are decided again. A claim "
        "that a control aims at must not stay reproduced.",
        "",
        "| control | what is broken | aimed at and reproduced before | still reproduced | became |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in controls.summary(controlled).to_dict("records"):
        survivors = f" (`{row['survivors']}`)" if row["survivors"] else ""
        lines.append(
            f"| {row['control']} | {row['what is broken']} | {row['reproduced before']} | "
            f"{row['still reproduced']}{survivors} | {row['became'] or '-'} |"
        )
    return lines


def section(claim: dict[str, Any]) -> list[str]:
    """Return the lines of a claim's section: verdict, source, criterion, and all its numbers."""
    lines = [
        f"**{claim['verdict']}**: {claim['claim']}",
        "",
        f"- source: {claim['source']}",
        f"- criterion: {claim['criterion']}",
    ]
    tables = []
    for name, value in claim["evidence"].items():
        if _is_table(value):
            tables.append(value)
        else:
            lines.append(f"- {name}: {shown(value)}")
    for value in tables:
        lines += ["", *_table(value)]
    return lines


def as_html(title: str, markdown: str) -> str:
    """Return a page of Markdown as a page for a browser, with an id at each heading to link to.

    Links to figures and to other pages are left out, because the report has these on its own.
    """
    without_figures = re.sub(r"\nFigures?: .*\n", "\n", markdown)
    without_links = re.sub(r"\[(`[^`]+`)\]\(claims\.md#[^)]*\)", r"\1", without_figures)
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(without_links)
    return html_page(title, re.sub(r"<h2>(.+?)</h2>", _heading_with_id, body))


def _heading_with_id(heading: re.Match[str]) -> str:
    return f'<h2 id="{heading[1].replace(".", "")}">{heading[1]}</h2>'


def html_page(title: str, body: str) -> str:
    """Return a whole page of a title and a body of HTML."""
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html>{head}{body}"


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = [shown(row[name]) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def shown(value: Any) -> str:
    """Return a value of the evidence as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**value)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return "; ".join(f"{name} {shown(content)}" for name, content in value.items())
    return str(value)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("claims", type=Path, nargs="+", help="claims.json of each task")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--timings", type=Path, required=True, help="CSV file of timings")
    parser.add_argument(
        "--controls", type=Path, nargs="*", default=[], help="controls.csv of each task"
    )
    parser.add_argument(
        "--criteria", type=Path, help="JSON file of the criteria that were written before the run"
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="let the studies published in docs/ answer questions that this study leaves open",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="claims.json; the pages are written beside it"
    )
    args = parser.parse_args()
    with job.running("claims", args) as progress:
        of_study = [identities.exact(args.seed), *cost.price(pd.read_csv(args.timings))]
        claims = [dataclasses.asdict(claim) for claim in of_study]
        for path in args.claims:
            claims += job.read_json(path)
        controlled = [pd.read_csv(path) for path in args.controls]
        others = sorted(modules.ROOT.glob("docs/*/claims.json")) if args.published else []
        elsewhere = {path.parent.name: job.read_json(path) for path in others}
        pages = {
            "claims": front_page(
                args.study,
                claims,
                pd.concat(controlled) if controlled else None,
                job.read_json(args.criteria) if args.criteria else None,
            ),
            "questions": questions.page(args.study, claims, elsewhere),
        }
        for name, page in pages.items():
            _write(args.output.with_name(f"{name}.md"), page)
            _write(args.output.with_name(f"{name}.html"), as_html(args.study, page))
        job.write_json(args.output, claims)
        progress.say(counted(claims).replace("*", ""))


def _write(path: Path, text: str) -> None:
    with job.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
