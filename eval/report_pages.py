"""Pages of the report: one for each claim, its figure with the numbers as caption, and the completions of each task, to be read."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import pandas as pd

from eval.gather_claims import as_html, html_page, section
from study import job

POLICIES = {"dera": "DeRa", "retrained": "Retrained models"}


def claim_page(claim: dict[str, Any], figures: Path) -> str:
    """What was claimed, the verdict, the numbers in a line as the figure's caption, the figure itself, and the evidence."""
    lines = [f"# {claim['id']}", ""]
    if claim["figure"]:
        png = base64.b64encode((figures / f"{claim['figure']}.png").read_bytes()).decode()
        lines += [
            f'<img alt="{claim["figure"]}" style="max-width:100%" src="data:image/png;base64,{png}">',
            "",
        ]
    lines += [f"*{claim['headline']}*", "", *section(claim)]
    return as_html(claim["id"], "\n".join(lines))


def completions_page(task: str, samples: pd.DataFrame, policy: str) -> str:
    """The first completion of each prompt by the reference, then by DeRa at every lam or by the retrained models, with its gold."""
    parts = [f"<h1>{POLICIES[policy]}, task {task}</h1>"]
    for _, rows in samples.groupby("prompt_id"):
        parts += [
            f"<pre>{html.escape(rows['prompt'].iloc[0])}</pre>",
            "<table><tr><th>policy<th>gold<th>completion</tr>",
        ]
        mine = rows[rows["policy"] == policy].sort_values(["objective", "adapter_beta", "lam"])
        for row in pd.concat([rows[rows["policy"] == "reference"], mine]).itertuples():
            text = (
                row.completion if isinstance(row.completion, str) else ""
            )  # a table's empty text reads as NaN
            parts.append(f"<tr><td>{_named(row)}<td>{row.gold:.2f}<td>{html.escape(text)}</tr>")
        parts.append("</table>")
    return html_page(task, "\n".join(parts))


def _named(row: Any) -> str:
    if row.policy == "reference":
        return "reference"
    strength = f"\N{GREEK SMALL LETTER BETA} = {row.adapter_beta:g}"
    return f"{row.objective}, {strength}" + (
        f", \N{GREEK SMALL LETTER LAMDA} = {row.lam:g}" if row.policy == "dera" else ""
    )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--claims", type=Path, required=True, help="claims.json of the study")
    parser.add_argument("--figures", type=Path, required=True, help="folder of its figures")
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
    parser.add_argument("--claim-pages", type=Path, required=True, help="folder for TASK/ID.html")
    parser.add_argument(
        "--completion-pages", type=Path, required=True, help="folder for POLICY/TASK.html"
    )
    args = parser.parse_args()
    with job.running("pages", args):
        claims = job.read_json(args.claims)
        write(
            args.claim_pages,
            {f"{c['task'] or 'all'}/{c['id']}": claim_page(c, args.figures) for c in claims},
        )
        samples = {
            task: pd.read_csv(path) for task, path in zip(args.tasks, args.samples, strict=True)
        }
        pages = {
            f"{policy}/{task}": completions_page(task, samples[task], policy)
            for policy in POLICIES
            for task in samples
        }
        write(args.completion_pages, pages)


def write(output: Path, pages: dict[str, str]) -> None:
    """Write each page under its name into the folder."""
    with job.atomic_path(output) as folder:
        for name, page in pages.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.html").write_text(page)


if __name__ == "__main__":
    main()
