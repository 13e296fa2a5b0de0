"""Write the front page of a study: what the paper claims, what came out, and text over lam.

The page is one file that loads nothing, so that it can be copied and sent.

Settings: `Settings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute
from pyarrow import parquet

from report.page import assets, claims, explorer, made_by, pictures
from report.page.explorer import PROMPTS, TaskTables
from study import job

#: The figure that stands below the first table, if the study draws it.
AT_A_GLANCE = "agreement"


@job.settings_class
class Settings:
    """What the page cannot know from tables.

    Attributes:
        too_small: says that the study is too small to judge; empty where it is not.
        captions: the captions of the figures, by their paths below the folder of figures.
    """

    too_small: str
    captions: dict[str, str]


def page(
    made: list[dict[str, Any]],
    manifest: dict[str, Any],
    controlled: pd.DataFrame,
    tasks: list[TaskTables],
    figures: Path,
    settings: Settings,
) -> str:
    """Return the page.

    Args:
        made: all claims of the study.
        manifest: the study's manifest.
        controlled: the table of `eval.controls`, of all tasks.
        tasks: the tables of each task.
        figures: the folder of the figures.
        settings: the settings of the job.
    """
    groups = claims.groups(made, controlled)

    # Each figure is embedded once, where the first claim stands that it belongs to.
    shown: dict[str, pictures.Picture] = {}
    owners: dict[str, str] = {}
    names = [AT_A_GLANCE] if AT_A_GLANCE in settings.captions else []
    for group in groups:
        for section in group["claims"]:
            if section["figure"]:
                names.append(section["figure"])
                owners.setdefault(section["figure"], section["id"])
    for name in dict.fromkeys(names):
        shown[name] = pictures.embedded(name, figures, settings.captions[name])

    content = {
        "study": manifest["config"]["study"],
        "made_by": made_by.sentence(manifest, {task.name: task.seeds for task in tasks}),
        "too_small": settings.too_small,
        "rows": claims.front_rows(made),
        "groups": groups,
        "pictures": shown,
        "owners": owners,
        "at_a_glance": shown.get(AT_A_GLANCE),
    }
    return assets.render(content, explorer.gather(tasks))


def read_tables(name: str, completions: Path, policies: Path, prompts: Path) -> TaskTables:
    """Return the tables of one task, with no more completions than the explorer can show."""
    first = (pyarrow.compute.field("sample_id") == 0) & (
        pyarrow.compute.field("prompt_id") < max(PROMPTS)
    )
    written = parquet.read_table(completions, filters=first).to_pandas()
    held_out = parquet.read_table(prompts, columns=["prompt"])["prompt"]
    return TaskTables(
        name,
        written,
        pd.read_csv(policies, low_memory=False),
        held_out.slice(0, max(PROMPTS)).to_pylist(),
    )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--claims", type=Path, required=True, help="claims.json of the study")
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the study")
    parser.add_argument("--figures", type=Path, required=True, help="folder of its figures")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    of_each_task = {
        "--completions": "Parquet file of scored completions",
        "--policies": "CSV file of the policies",
        "--controls": "CSV file of the controls",
        "--prompts": "Parquet file with a column prompt",
    }
    for option, what in of_each_task.items():
        parser.add_argument(
            option, type=Path, nargs="+", required=True, help=f"{what}, of each task in turn"
        )
    parser.add_argument("--output", type=Path, required=True, help="index.html")
    args = parser.parse_args()
    settings = job.settings_of(args, Settings)
    with job.running("front page", args) as progress:
        tasks = []
        files = zip(args.tasks, args.completions, args.policies, args.prompts, strict=True)
        for name, completions, policies, prompts in files:
            tasks.append(read_tables(name, completions, policies, prompts))
        text = page(
            job.read_json(args.claims),
            job.read_json(args.manifest),
            pd.concat(map(pd.read_csv, args.controls)),
            tasks,
            args.figures,
            settings,
        )
        with job.atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
        progress.say(f"{args.output} has {len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
