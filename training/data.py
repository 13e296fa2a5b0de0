"""Make the data: one Parquet file for each split, with columns `prompt` and `completion`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from study import job, on_disk
from tasks import TaskSettings


@job.settings_class
class DataSettings:
    """The task, and the config's section `corpus`, which each corpus reads by itself."""

    task: TaskSettings
    corpus: dict[str, Any]


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the splits")
    parser.add_argument(
        "--files",
        type=json.loads,
        default={},
        help="JSON: the file that the corpus reads for each split, if it reads files",
    )
    args = parser.parse_args()
    settings = job.settings_of(args, DataSettings)
    with job.running(f"{settings.task.name} data", args) as progress:
        splits = settings.task.create().splits(settings.corpus, args.files, args.seed)
        for name, split in splits.items():
            with job.atomic_path(args.output / f"{name}.parquet") as path:
                split.to_parquet(path)
            progress.say(f"{name}: {len(split)} prompts")
        record = {"seed": args.seed, "settings": args.settings}
        job.write_json(args.output / on_disk.OF_DATA, record)


if __name__ == "__main__":
    main()
