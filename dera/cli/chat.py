"""`dera chat`: talk with the realigned model, and change lam in the middle of the conversation."""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dera.chat import ConversationText
from dera.cli import distribution, options
from dera.cli.models import check_models, load_pair, seed_batch
from dera.cli.output import note
from dera.cli.prompts import check_chat, readable
from dera.cli.values import MAX_BETA, beta_of, lam_list, lams_of, number
from dera.cli.window import check_window

if TYPE_CHECKING:
    from dera import RealignedModel

SUMMARY = "talk with the realigned model, and change lam as you go"
COMMANDS = """\
  /lam 0.5            answer at this mixing weight from now on
  /beta 0.2           answer at this KL strength from now on (needs --aligned-beta)
  /again              answer the last message anew, in place of the last answer
  /compare 0,0.5,1,2  answer the last message at each lam, and keep none of it
  /new                forget the conversation
  /help               show these commands
  /quit               end, as the end of the input does"""
DESCRIPTION = f"""\
This command answers what you write, word by word. The models read the whole
conversation in their chat template. Control-C stops an answer, and what was
written of it stays. A line that begins with a slash is a command:

{COMMANDS}

Messages may also be given as arguments, which are answered first, or come from
a pipe, one a line.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera chat models/sft models/aligned --lam 0.5
  dera chat models/sft models/aligned --aligned-beta 0.1 "How do I boil an egg?"
  printf 'How do I boil an egg?\\n/compare 0,1,2\\n' | dera chat models/sft models/aligned
"""
#: A message that every tokenizer can read, for the checks before the models are loaded.
_GREETING = "Hello."


class CommandError(ValueError):
    """A line of a chat that cannot be carried out; the message says why. The chat goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_models(parser, "Messages that are answered first.")
    options.add_template(parser.add_argument_group("the chat"))
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument(
        "--lam", metavar="LAM", type=lam_list, help="Begin at this mixing weight (default 1)."
    )
    strength.add_argument(
        "--beta",
        metavar="BETA",
        type=number(float, maximum=MAX_BETA, positive=True),
        help="Begin at this KL strength instead (needs --aligned-beta).",
    )
    decoding = parser.add_argument_group("decoding")
    options.add_drawing(decoding, 256, "answers")
    options.add_compiled(decoding)
    distribution.add_distribution(parser, exact=False)
    # What the other commands ask for, and a chat has no choice in.
    parser.set_defaults(chat=True, prompts_file=None, output=None, exact=None)
    parser.set_defaults(samples=1, speculative=False)


def run(args: argparse.Namespace) -> None:
    """Answer messages until there are no more."""
    distribution.check_distribution(args)
    lam = _lam_at_the_start(args)
    check_models(args)
    check_chat(args)
    model, tokenizer = load_pair(args, [_GREETING])
    said = distribution.said_of_checkpoint(model, args)
    if said is not None:
        note(said)
    chat = Chat(model, tokenizer, args, lam)
    if sys.stdin is not None and sys.stdin.isatty():
        print("Write a message, or /help.")
    for line in _lines(args.prompts):
        try:
            if not chat.follow(line):
                break
        except CommandError as error:
            note(str(error))


class Chat:
    """A conversation, and the strength at which the next answer is given.

    Args:
        model: the pair.
        tokenizer: reads conversations in a chat template.
        args: the arguments of the command.
        lam: the mixing weight to begin with.
    """

    def __init__(self, model: RealignedModel, tokenizer: Any, args: argparse.Namespace, lam: float):
        from dera.decoding import end_tokens

        self.lam = lam
        self.turns: list[dict[str, str]] = []
        self._model = model
        self._tokenizer = tokenizer
        self._args = args
        self._answers = 0
        self._settings = distribution.generation_config(
            model, args, end_tokens(model, tokenizer), tokenizer.pad_token_id
        )

    def follow(self, line: str) -> bool:
        """Answer a message or carry out a command.

        Returns:
            Whether the chat goes on.

        Raises:
            CommandError: if that cannot be done.
        """
        line = line.strip()
        if not line:
            return True
        if not line.startswith("/"):
            self._hear(line)
            return True
        command, _, argument = line.partition(" ")
        if command == "/quit":
            return False
        if command == "/help":
            print(COMMANDS)
        elif command == "/new":
            self.turns = []
        elif command == "/lam":
            self.lam = _one_of(_lams(argument))
        elif command == "/beta":
            self.lam = _lam_of_beta(argument, self._args.aligned_beta)
        elif command == "/again":
            self._answer_again()
        elif command == "/compare":
            self._compare(_lams(argument))
        else:
            raise CommandError(f"there is no command {command}; /help shows those there are")
        return True

    def _hear(self, message: str) -> None:
        """Answer a message, and remember both."""
        try:
            turns = [*self.turns, {"role": "user", "content": readable(message, "the message")}]
            self._check_length(turns)
        except ValueError as error:
            raise CommandError(str(error)) from None
        answer = self._answer(turns, self.lam)
        self.turns = [*turns, {"role": "assistant", "content": answer}]

    def _answer_again(self) -> None:
        before = self._before_the_last_answer()
        answer = self._answer(before, self.lam)
        self.turns = [*before, {"role": "assistant", "content": answer}]

    def _compare(self, lams: tuple[float, ...]) -> None:
        """Answer the last message at each lam, from the same random numbers."""
        before = self._before_the_last_answer()
        for lam in lams:
            self._answer(before, lam, is_next=False)

    def _before_the_last_answer(self) -> list[dict[str, str]]:
        if not self.turns:
            raise CommandError("there is no message to answer yet: write one first")
        return self.turns[:-1]

    def _check_length(self, turns: list[dict[str, str]]) -> None:
        """Refuse a conversation that the models cannot read.

        Raises:
            ValueError: if it is too long.
        """
        try:
            check_window(self._args, self._tokenizer, [ConversationText(turns)])
        except ValueError as error:
            raise ValueError(f"{error}. Or forget the conversation with /new") from None

    def _answer(self, turns: list[dict[str, str]], lam: float, is_next: bool = True) -> str:
        """Print an answer while it is written, and return it.

        Args:
            turns: the conversation, which ends with the user's message.
            lam: the mixing weight.
            is_next: whether the answer after this one draws other random numbers.
        """
        from dera.cli.streamed import AnswerStreamer
        from dera.decoding import batch_of

        seed_batch(self._args.seed, self._answers)
        self._answers += is_next
        print(f"[{_strength(lam, self._args.aligned_beta)}] ", end="", flush=True)
        streamer = AnswerStreamer(self._tokenizer)
        inputs = batch_of(self._model, self._tokenizer, [ConversationText(turns)])
        try:
            written = self._model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                lam=lam,
                compiled=self._args.compiled,
                generation_config=copy.deepcopy(self._settings),
                streamer=streamer,
                tokenizer=self._tokenizer if self._settings.stop_strings else None,
            )
        except KeyboardInterrupt:
            print(" (stopped)")
            return streamer.text
        print(self._remark(written[0].tolist(), streamer.text))
        return streamer.text

    def _remark(self, token_ids: list[int], text: str) -> str:
        """Return what has to be said of an answer that is empty or was cut."""
        ends = self._settings.eos_token_id
        if not any(token in ends for token in token_ids[-1:]):
            limit = f"--max-new-tokens {self._args.max_new_tokens}"
            return f" (cut: it had not ended within {limit})"
        return "" if text.strip() else "(the model ended its turn without a word)"


def _lam_at_the_start(args: argparse.Namespace) -> float:
    """Return the lam that the command's arguments ask for.

    Raises:
        ValueError: if they ask for more than one, or for a beta without --aligned-beta.
    """
    if args.beta is not None:
        return lams_of(None, [args.beta], args.aligned_beta)[0]
    lams = args.lam or (1.0,)
    if len(lams) > 1:
        raise ValueError(
            f"a chat is at one lam at a time, got {len(lams)}: give one, and /compare the others"
        )
    return lams[0]


def _lines(messages: list[str]) -> Iterator[str]:
    """Yield the messages of the command's arguments, and then the lines of standard input.

    What is not typed is shown, so that the output reads as a conversation.
    """
    for message in messages:
        print(f"> {message}")
        yield message
    if sys.stdin is None:
        return
    if not sys.stdin.isatty():
        for line in sys.stdin:
            if line.strip():
                print(f"> {line.strip()}")
            yield line
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (importing it lets the arrow keys bring back earlier lines)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _lams(text: str) -> tuple[float, ...]:
    """Read the mixing weights of a command.

    Raises:
        CommandError: if there are none, or they are no numbers.
    """
    words = ",".join(text.replace(",", " ").split())
    try:
        return lam_list(words)
    except argparse.ArgumentTypeError as error:
        raise CommandError(str(error) if words else "give a lam, as in /lam 0.5") from None


def _one_of(lams: tuple[float, ...]) -> float:
    if len(lams) > 1:
        raise CommandError(f"one lam at a time, got {len(lams)}; /compare answers at several")
    return lams[0]


def _lam_of_beta(text: str, aligned_beta: float | None) -> float:
    """Return the lam of a command's KL strength.

    Raises:
        CommandError: if it is no positive number, or --aligned-beta was not given.
    """
    try:
        beta = number(float, maximum=MAX_BETA, positive=True)(text.strip())
        return lams_of(None, [beta], aligned_beta)[0]
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise CommandError(str(error)) from None


def _strength(lam: float, aligned_beta: float | None) -> str:
    beta = beta_of(lam, aligned_beta)
    return f"lam {lam:g}" if beta is None else f"lam {lam:g}, beta {beta:g}"
