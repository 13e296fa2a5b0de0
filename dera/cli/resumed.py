"""Running a command that makes one result: shown again if it is there, resumed if it was begun."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dera.cli.output import note
from dera.cli.resultfile import ResultFile
from dera.cli.settings import settings_of


class Outcome(NamedTuple):
    """What a command found.

    Attributes:
        result: what is written to the output, in values that JSON has.
        text: what is printed.
        notes: what casts doubt on the result.
    """

    result: Any
    text: str
    notes: list[str]


def run_or_resume(
    args: argparse.Namespace,
    prompts: Sequence[str],
    work: Callable[[ResultFile | None], Outcome],
) -> None:
    """Do the work, go on with it, or only show its result again; print what came out.

    Without --output nothing is kept.

    Args:
        args: the command's arguments.
        prompts: the command's prompts.
        work: does the work. It is given the record for its completions, and begins it once the
            models are loaded.

    Raises:
        ValueError: as `ResultFile` does.
    """
    if args.output is None:
        _show(work(None))
        return
    file = ResultFile(args.output, settings_of(args, prompts, args.lams))
    if file.shown is not None:
        note(f"{args.output} is complete already: nothing was decoded")
        _show(Outcome(None, file.shown["text"], file.shown["notes"]))
        return
    try:
        outcome = work(file)
    except (KeyboardInterrupt, OSError, ValueError):
        if file.partial.exists():
            note(f"what was decoded is in {file.partial}: the same command goes on from there")
        raise
    file.finish(*outcome)  # before it is printed, which may fail
    _show(outcome)


def _show(outcome: Outcome) -> None:
    print(outcome.text)
    for text in outcome.notes:
        note(text)
