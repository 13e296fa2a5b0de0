"""Options that several commands share, and the texts that explain them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dera.cli.values import number, number_list

STRENGTH = """\
lam says how far to go from the reference to the aligned model: 0 is the
reference, 1 the aligned model, values between them lie between, and values
above 1 go beyond. If the aligned model was trained with KL strength beta0
(--aligned-beta), lam stands for training at strength beta0 / lam: lam 0.5 for
twice the regularisation, lam 2 for half of it."""


def add_models(parser: argparse.ArgumentParser) -> None:
    """The pair, and how to load it."""
    parser.add_argument(
        "reference",
        metavar="REFERENCE",
        help="the reference (SFT) model: a folder or a Hub id; its tokenizer is used",
    )
    parser.add_argument(
        "aligned",
        metavar="ALIGNED",
        help="the aligned model, or a PEFT adapter trained on REFERENCE",
    )
    parser.add_argument("prompts", metavar="PROMPT", nargs="*", help="texts to continue")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--aligned-beta",
        metavar="BETA0",
        type=number(float, positive=True),
        help="KL strength the aligned model was trained at",
    )
    models.add_argument(
        "--adapter-merge",
        action="store_true",
        help="merge an adapter into a second copy of REFERENCE: two models, in twice the memory",
    )
    models.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="of the weights (default: as saved)",
    )
    where = models.add_mutually_exclusive_group()
    where.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 (default: cuda where there is one)"
    )
    where.add_argument(
        "--device-map",
        metavar="MAP",
        help="spread the models over devices, as transformers' device_map: auto",
    )


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Where prompts come from."""
    prompts = parser.add_argument_group(
        "prompts", "from the arguments, a file, or standard input (one a line)"
    )
    prompts.add_argument(
        "--prompts",
        metavar="FILE",
        type=Path,
        dest="prompts_file",
        help=".txt, one prompt a line, or .jsonl",
    )
    prompts.add_argument(
        "--prompt-field",
        metavar="NAME",
        default="prompt",
        help="field of a .jsonl file's objects (default prompt)",
    )
    prompts.add_argument(
        "--chat",
        action="store_true",
        help="wrap each prompt in the tokenizer's chat template, as the user's turn",
    )
    prompts.add_argument("--system", metavar="TEXT", help="system message, with --chat")


def add_decoding(parser: argparse.ArgumentParser, samples: int) -> None:
    """How much to decode, and what to show meanwhile."""
    decoding = parser.add_argument_group("decoding")
    decoding.add_argument(
        "--max-new-tokens",
        metavar="N",
        type=number(int, 1),
        default=64,
        help="completions are cut there (default 64)",
    )
    decoding.add_argument(
        "--samples",
        metavar="N",
        type=number(int, 1),
        default=samples,
        help=f"completions of each prompt at each lam (default {samples})",
    )
    decoding.add_argument(
        "--batch-size",
        metavar="N",
        type=number(int, 1),
        default=64,
        help="completions decoded at a time (default 64)",
    )
    decoding.add_argument(
        "--seed", metavar="N", type=number(int, 0), default=0, help="of all randomness (default 0)"
    )
    decoding.add_argument("--quiet", action="store_true", help="no progress bars")
    decoding.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_lams(
    parser: argparse._ActionsContainer, default: tuple[float, ...] | None = None, said: str = ""
) -> None:
    """A list of mixing weights."""
    parser.add_argument(
        "--lams",
        metavar="LIST",
        type=number_list,
        default=default,
        help=f"0,0.5,1 or start:stop:step, as 0:2:0.25{said}",
    )


def add_output(
    parser: argparse.ArgumentParser, name: str, what: str, required: bool = False
) -> None:
    """A file for the results."""
    parser.add_argument("--output", metavar=name, type=Path, required=required, help=what)


def add_metric(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """A judge of completions."""
    parser.add_argument(
        "--metric",
        metavar="FILE.py:FUNCTION",
        required=required,
        help="a function(prompts, completions) that returns one number for each, higher is better; or package.module:FUNCTION",
    )


def check_enough(args: argparse.Namespace, prompts: Sequence[str]) -> None:
    """Refuse too few prompts or samples for intervals.

    Raises:
        ValueError: for fewer than two of either.
    """
    if len(prompts) < 2:
        raise ValueError(
            f"intervals come from differences between prompts: at least two are needed, got {len(prompts)}"
        )
    if args.samples < 2:
        raise ValueError(
            f"--samples {args.samples} is too few: the estimates need at least two completions of each prompt"
        )
