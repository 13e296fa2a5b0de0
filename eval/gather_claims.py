"""The claims of all tasks, and those of no task, as claims.json and as the study's front page, claims.md; and what they answer, questions.md. Both also as HTML, for the report."""

from __future__ import annotations

import collections
import dataclasses
import re
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from eval import questions
from eval.claims import FAILED, PAPER, PARTLY, REPRODUCED, UNTESTED, identities
from study import job

STYLE = "body{font:14px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}pre{white-space:pre-wrap}"


def front_page(study: str, claims: list[dict[str, Any]]) -> str:
    """The paper's claims beside ours in one table, every claim in another, then the evidence of each."""
    lines = [
        f"# Claims of the study `{study}`",
        "",
        "| claimed | our verdicts | our numbers |",
        "| --- | --- | --- |",
    ]
    for about, text in PAPER.items():
        ours = [claim for claim in claims if claim["about"] == about]
        if ours:
            numbers = "<br>".join(f"`{claim['id']}`: {claim['headline']}" for claim in ours)
            lines.append(f"| {text} | {_counted(ours)} | {numbers} |")
    lines += [
        "",
        "## Every claim",
        "",
        "| task | claim | verdict | numbers |",
        "| --- | --- | --- | --- |",
    ]
    for claim in claims:
        name = f"{claim['claim']} ([`{claim['id']}`](#{claim['id'].replace('.', '')}))"
        lines.append(
            f"| {claim['task'] or 'all'} | {name} | **{claim['verdict']}** | {claim['headline']} |"
        )
    for claim in claims:
        lines += ["", f"## {claim['id']}", "", *section(claim)]
        if claim["figure"]:
            lines += ["", f"Figure: [`{claim['figure']}`](figures/{claim['figure']}.png)"]
    return "\n".join(lines) + "\n"


def section(claim: dict[str, Any]) -> list[str]:
    """Lines of a claim's section: verdict, source, criterion, and every number it rests on."""
    lines = [f"**{claim['verdict']}**: {claim['claim']}", ""]
    lines += [f"- source: {claim['source']}", f"- criterion: {claim['criterion']}"]
    lines += [
        f"- {name}: {shown(value)}"
        for name, value in claim["evidence"].items()
        if not _is_table(value)
    ]
    for value in filter(_is_table, claim["evidence"].values()):
        lines += ["", *_table(value)]
    return lines


def as_html(title: str, markdown: str) -> str:
    """A page for a browser, with a place to link to at each heading; figures and other pages are the report's own, so nothing links to them."""
    alone = re.sub(
        r"\[(`[^`]+`)\]\(claims\.md#[^)]*\)", r"\1", re.sub(r"\nFigures?: .*\n", "\n", markdown)
    )
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(alone)
    body = re.sub(
        r"<h2>(.+?)</h2>",
        lambda match: f'<h2 id="{match[1].replace(".", "")}">{match[1]}</h2>',
        body,
    )
    return html_page(title, body)


def html_page(title: str, body: str) -> str:
    """A whole page of a title and a body of HTML."""
    return (
        f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>{body}'
    )


def _counted(claims: list[dict[str, Any]]) -> str:
    counts = collections.Counter(claim["verdict"] for claim in claims)
    return ", ".join(
        f"**{name}** {counts[name]}"
        for name in (REPRODUCED, PARTLY, FAILED, UNTESTED)
        if counts[name]
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(rows[0])
    body = [f"| {' | '.join(shown(row[name]) for name in names)} |" for row in rows]
    return [f"| {' | '.join(names)} |", "|" + " --- |" * len(names), *body]


def shown(value: Any) -> str:
    """A value of the evidence as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
        return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**value)
    if isinstance(value, list | tuple):
        return ", ".join(shown(v) for v in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {shown(v)}" for name, v in value.items())
    return str(value)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("claims", type=Path, nargs="+", help="claims.json of each task")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument(
        "--output", type=Path, required=True, help="claims.json; the pages are written beside it"
    )
    args = parser.parse_args()
    with job.running("claims", args) as progress:
        claims = [dataclasses.asdict(identities.exact(args.seed))]
        for path in args.claims:
            claims += job.read_json(path)
        for name, page in (
            ("claims", front_page(args.study, claims)),
            ("questions", questions.page(args.study, claims)),
        ):
            for suffix, text in ((".md", page), (".html", as_html(args.study, page))):
                with job.atomic_path(args.output.with_name(name + suffix)) as path:
                    path.write_text(text)
        job.write_json(args.output, claims)
        progress.say(_counted(claims).replace("*", ""))


if __name__ == "__main__":
    main()
