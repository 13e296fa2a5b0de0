"""From the words of a command line to a command, and from its outcome to an exit status."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dera.cli import chat, diagnose, generate, sweep, tune
from dera.cli.files import claimed_output
from dera.cli.output import note
from dera.cli.streams import forget_unwritten, sturdy_streams
from dera.cli.values import join_numbers

COMMANDS: dict[str, Any] = {
    "generate": generate,
    "chat": chat,
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
    is_closed = sys.stdout is None
    with sturdy_streams():
        args = parse(sys.argv[1:] if argv is None else argv)
        if is_closed and args.output is None:
            note("error: standard output is closed: give --output FILE, or do not close it")
            return 2
        status = _status_of(args)
        forget_unwritten()
    return status


def _status_of(args: argparse.Namespace) -> int:
    """Run a command whose arguments were understood, and return its exit status."""
    try:
        with _plain_warnings(), claimed_output(args):
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        return 1
    except Exception as error:
        if not _is_a_users_mistake(error):
            raise
        if args.debug:
            traceback.print_exc()
        note(f"error: {_message_of(error)}")
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
    return _is_out_of_memory(error) or isinstance(error, (ValueError, OSError, ImportError))


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether the memory of the machine or of an accelerator did not suffice."""
    # torch's errors are recognised by name and by text, without importing torch.
    by_name = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return by_name or "can't allocate memory" in str(error)


def _message_of(error: Exception) -> str:
    """Return what to tell the user of an error."""
    if not _is_out_of_memory(error):
        return str(error)
    cause = next(iter(str(error).splitlines()), "")
    return (
        "the memory does not suffice: give a smaller --batch-size or --max-new-tokens. "
        f"The cause was: {cause or type(error).__name__}"
    )


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
