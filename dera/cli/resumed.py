"""Running a command that makes one result: shown again if it is there, resumed if it was begun."""

from __future__ import annotations

import argparse
import json
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
) -> Any:
    """Do the work, go on with it, or only show its result again; print what came out.

    Without --output nothing is kept.

    Returns:
        The result, in values that JSON has.

    Args:
        args: the command's arguments.
        prompts: the command's prompts.
        work: does the work. It is given the record for its completions, and begins it once the
            models are loaded.

    Raises:
        ValueError: as `ResultFile` does.
    """
    if args.output is None:
        outcome = work(None)
        _show(outcome)
        return outcome.result
    file = ResultFile(args.output, settings_of(args, prompts, args.lams))
    if file.shown is not None:
        note(f"{args.output} is complete already: nothing was decoded")
        _show(Outcome(None, file.shown["text"], file.shown["notes"]))
        return json.loads(args.output.read_text(encoding="utf-8"))
    try:
        outcome = work(file)
    except (KeyboardInterrupt, OSError, ValueError):
        if file.partial.exists():
            note(f"what was decoded is in {file.partial}: the same command goes on from there")
        raise
    file.finish(*outcome)  # before it is printed, which may fail
    _show(outcome)
    return outcome.result


def _show(outcome: Outcome) -> None:
    print(outcome.text)
    for text in outcome.notes:
        note(text)
