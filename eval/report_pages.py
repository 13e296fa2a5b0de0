"""Pages of the report: the first one, one for each claim, and the completions of each task.

A claim's page begins with the claim in a sentence. Then come the numbers that decide, the
criterion, and the evidence. The figures are entries of the report of their own.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pandas as pd

from eval import front_table
from eval.gather_claims import as_html, html_page, section
from study import job

#: The kinds of policy that have a page of completions each, and the headings of these pages.
HEADINGS = {"dera": "DeRa", "retrained": "Retrained models"}
BETA = "\N{GREEK SMALL LETTER BETA}"
LAM = "\N{GREEK SMALL LETTER LAMDA}"


def claim_page(claim: dict[str, Any]) -> str:
    """Return the page of a claim: what it says, the numbers in a line, the evidence."""
    lines = [f"# {claim['claim']}", "", f"*{claim['headline']}*", "", *section(claim)]
    if claim["figure"]:
        lines += ["", f"The figure `{claim['figure']}` shows it, in the chapter *Figures*."]
    return as_html(claim["id"], "\n".join(lines))


def claim_path(claim: dict[str, Any]) -> str:
    """Return the name of a claim's page, whose folders are what the report sorts it by."""
    task = claim["task"] or "all tasks"
    return f"{front_table.chapter(claim)}/{task}/{claim['verdict']}/{claim['id']}"


def completions_page(task: str, samples: pd.DataFrame, kind: str) -> str:
    """Return a page with the first completion of each prompt, and its gold.

    Each prompt is completed by the reference, then by DeRa at every lam or by the retrained models,
    whichever `kind` says.
    """
    lines = [f"<h1>{HEADINGS[kind]}, task {task}</h1>"]
    for _, of_prompt in samples.groupby("prompt_id"):
        lines.append(f"<pre>{html.escape(of_prompt['prompt'].iloc[0])}</pre>")
        lines.append("<table><tr><th>policy<th>gold<th>completion</tr>")
        reference = of_prompt[of_prompt["kind"] == "reference"]
        of_kind = of_prompt[of_prompt["kind"] == kind]
        of_kind = of_kind.sort_values(["objective", *_strengths(kind)])
        for row in pd.concat([reference, of_kind]).itertuples():
            # an empty text reads as NaN from a table
            text = row.completion if isinstance(row.completion, str) else ""
            lines.append(f"<tr><td>{_named(row)}<td>{row.gold:.2f}<td>{html.escape(text)}</tr>")
        lines.append("</table>")
    return html_page(task, "\n".join(lines))


def _strengths(kind: str) -> list[str]:
    """Return the columns that tell the policies of a kind apart."""
    return ["anchor", "lam"] if kind == "dera" else ["beta"]


def _named(row: Any) -> str:
    """Return what the policy of a row is called."""
    if row.kind == "reference":
        return "reference"
    if row.kind == "dera":
        return f"{row.objective}, {BETA} = {row.anchor:g}, {LAM} = {row.lam:g}"
    return f"{row.objective}, {BETA} = {row.beta:g}"


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--claims", type=Path, required=True, help="claims.json of the study")
    parser.add_argument("--study", required=True, help="its name")
    parser.add_argument("--note", default="", help="what the first page says before its table")
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="+",
        required=True,
        help="CSV file of completions of each task",
    )
    parser.add_argument(
        "--tasks", nargs="+", required=True, help="names of the tasks, in the order of the files"
    )
    parser.add_argument("--first-page", type=Path, required=True, help="the file to write")
    parser.add_argument("--claim-pages", type=Path, required=True, help="folder for ID.html")
    parser.add_argument(
        "--completion-pages", type=Path, required=True, help="folder for KIND/TASK.html"
    )
    args = parser.parse_args()
    with job.running("pages", args):
        claims = job.read_json(args.claims)
        write(args.claim_pages, {claim_path(claim): claim_page(claim) for claim in claims})
        with job.atomic_path(args.first_page) as path:
            path.write_text(front_table.for_report(args.study, claims, args.note))

        completion_pages = {}
        for task, path in zip(args.tasks, args.samples, strict=True):
            samples = pd.read_csv(path)
            for kind in HEADINGS:
                completion_pages[f"{kind}/{task}"] = completions_page(task, samples, kind)
        write(args.completion_pages, completion_pages)


def write(output: Path, pages: dict[str, str]) -> None:
    """Write each page under its name into the folder."""
    with job.atomic_path(output) as folder:
        for name, page in pages.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
