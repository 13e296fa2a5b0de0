"""Divide one table of a user's own into train, validation and test, by prompt.

    python -m tasks.corpora.divide all.jsonl my-data --columns prompt=question --test 100

All rows of a prompt come into the same file, because what is measured on prompts that were trained
on means nothing. The held-out files have one row for each prompt. Which prompts are held out is
drawn at random. The rows themselves are not changed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study import job
from tasks.corpora import columns, tables
from tasks.corpora.tables import Row, TableError

HELD_OUT = ("validation", "test")


def divide(
    rows: Sequence[Row], settings: Mapping[str, Any], sizes: Mapping[str, int], seed: int
) -> dict[str, list[Row]]:
    """Divide rows into `train` and held-out splits that share no prompt.

    Args:
        rows: the table.
        settings: how the prompt of a row is found, as for `columns.texts`.
        sizes: the number of prompts of each held-out split.
        seed: seed of the draw.

    Returns:
        The rows of each split, in the order of the table.

    Raises:
        TableError: if a row cannot be used, or if no prompt would be left to train on.
    """
    found = columns.texts(rows, settings)
    by_place = {row.place: row for row in rows}
    of_prompt: dict[str, list[Row]] = {}
    for place, prompt in zip(found.places, found.prompts, strict=True):
        of_prompt.setdefault(prompt.strip(), []).append(by_place[place])
    held_out = sum(sizes.values())
    if held_out >= len(of_prompt):
        raise TableError(
            f"there are {len(of_prompt)} different prompts, and {held_out} were to be held out; "
            "hold out fewer, so that some are left to train on"
        )

    # Draw a split for each prompt.
    drawn = random.Random(seed).sample(sorted(of_prompt), held_out)
    split_of = {}
    for name, size in sizes.items():
        split_of |= dict.fromkeys(drawn[:size], name)
        drawn = drawn[size:]
    splits: dict[str, list[Row]] = {"train": [], **{name: [] for name in sizes}}
    for prompt, of_it in of_prompt.items():
        name = split_of.get(prompt, "train")
        splits[name] += of_it if name == "train" else of_it[:1]
    return splits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="a file, or a folder of Dataset.save_to_disk")
    parser.add_argument("folder", type=Path, help="where the three files go")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help="what the table calls prompt, chosen and rejected; a table without a column of "
        "prompts has chosen and rejected alone",
    )
    parser.add_argument("--prompt-ends-with", help="as `prompt_ends_with` of the config")
    parser.add_argument(
        "--skip-unusable", action="store_true", help="leave out rows that nothing can learn from"
    )
    for name in HELD_OUT:
        parser.add_argument(
            f"--{name}", type=int, default=100, help=f"prompts held out to {name} (100)"
        )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (0)")
    args = parser.parse_args()

    # What can be refused is refused before anything is written.
    settings: dict[str, Any] = {"skip_unusable": args.skip_unusable}
    if args.columns:
        settings["columns"] = dict(pair.partition("=")[::2] for pair in args.columns)
    if args.prompt_ends_with is not None:
        settings["prompt_ends_with"] = args.prompt_ends_with
    files = {name: args.folder / f"{name}.jsonl" for name in ("train", *HELD_OUT)}
    there = [str(path) for path in files.values() if path.exists()]
    if there:
        parser.error(f"{', '.join(there)}: would be overwritten; name another folder")
    sizes = {name: getattr(args, name) for name in HELD_OUT}
    if min(sizes.values()) < 1:
        parser.error("--test and --validation must be at least 1")
    try:
        splits = divide(tables.read(args.table), settings, sizes, args.seed)
    except TableError as error:
        parser.error(str(error))

    args.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        with job.atomic_path(files[name]) as path:
            lines = [json.dumps(dict(row.values), ensure_ascii=False) for row in rows]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{files[name]}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
