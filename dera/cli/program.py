"""From the words of a command line to a command, and from what happens to messages and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dera.cli import diagnose, generate, sweep, tune
from dera.cli.values import join_numbers

COMMANDS: dict[str, Any] = {
    "generate": generate,
    "sweep": sweep,
    "tune": tune,
    "diagnose": diagnose,
}

#: Options that take one or several numbers.
_NUMBERS = ("--lam", "--beta", "--lams", "--betas", "--sampled-lams")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 when the request cannot be carried out, 130 when interrupted."""
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        with _plain_warnings():
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("dera: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does: nothing is left to say, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not _expected(error):
            raise
        if args.debug:
            traceback.print_exc()
        print(f"dera: error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command; leaves with exit status 2 and a message when they are wrong."""
    top = argparse.ArgumentParser(
        prog="dera",
        description="Decoding-time realignment: decode a reference and an aligned model together, at any strength.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers = {}
    for name, module in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(parsers[name])
        parsers[name].set_defaults(run=module.run, command=name)
    if argv and argv[0] in parsers:
        # By itself, for a subparser would refuse prompts that come after options.
        return parsers[argv[0]].parse_intermixed_args(join_numbers(argv[1:], _NUMBERS))
    return top.parse_args(argv)


def _expected(error: Exception) -> bool:
    """Whether the message alone tells the user what to change; anything else is our mistake and keeps its traceback."""
    return (
        isinstance(error, (ValueError, OSError, ImportError))
        or type(error).__name__ == "OutOfMemoryError"
    )


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as sentences, without the line of code they come from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"dera: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # for those who write code, as DeprecationWarning, which Python hides itself
        warnings.showwarning = show
        yield
