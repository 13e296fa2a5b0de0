"""Make the study's data: one Parquet file a split, with columns `prompt` and `completion`.

Settings: {"task": {"name", "settings"}, "corpus": the config's section}.
"""

from __future__ import annotations

import json
from pathlib import Path

import tasks
from study import job


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the splits")
    parser.add_argument(
        "--files",
        type=json.loads,
        default={},
        help="JSON: the corpus's own file for each split, if it reads any",
    )
    args = parser.parse_args()
    with job.running(f"{args.settings['task']['name']} data", args) as progress:
        splits = tasks.create(**args.settings["task"]).splits(
            args.settings["corpus"], args.files, args.seed
        )
        for name, split in splits.items():
            with job.atomic_path(args.output / f"{name}.parquet") as path:
                split.to_parquet(path)
            progress.say(f"{name}: {len(split)} prompts")


if __name__ == "__main__":
    main()
