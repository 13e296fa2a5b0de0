"""From the words of a command line to a command, and from its outcome to an exit status."""

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

#: Options that take a number or a list of numbers.
_NUMBERS = ("--lam", "--beta", "--lams", "--betas", "--sampled-lams")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Returns:
        0 when all went well, 1 when the reader of the output has gone, 2 when the request cannot be
        carried out, 130 when the command was interrupted.
    """
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        with _plain_warnings():
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("dera: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does. Python must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not _is_a_users_mistake(error):
            raise
        if args.debug:
            traceback.print_exc()
        print(f"dera: error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command.

    Raises:
        SystemExit: with status 2, after a message, if the arguments are wrong.
    """
    top, parsers = _parsers()
    if argv and argv[0] in parsers:
        # As a subparser, a command would refuse prompts that come after options.
        return parsers[argv[0]].parse_intermixed_args(join_numbers(argv[1:], _NUMBERS))
    return top.parse_args(argv)


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the program, and one for each command."""
    top = argparse.ArgumentParser(
        prog="dera",
        description="Decoding-time realignment decodes a reference and an aligned model together, "
        "at any strength of alignment.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers = {}
    for name, module in COMMANDS.items():
        parser = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(parser)
        parser.set_defaults(run=module.run, command=name)
        parsers[name] = parser
    return top, parsers


def _is_a_users_mistake(error: Exception) -> bool:
    """Return whether the error's message alone tells the user what to change.

    Any other error is our mistake and keeps its traceback.
    """
    # torch's error for too little memory is recognised by name, without importing torch.
    out_of_memory = type(error).__name__ == "OutOfMemoryError"
    return out_of_memory or isinstance(error, (ValueError, OSError, ImportError))


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as sentences, without the line of code they come from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"dera: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        # These are for people who write code; Python hides DeprecationWarning itself.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.showwarning = show
        yield
