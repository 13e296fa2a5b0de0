"""Options that several commands share, and the texts that explain them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dera.cli.values import MAX_BETA, MAX_COUNT, MAX_SEED, json_object, lam_list, number

STRENGTH = """\
The mixing weight lam says how far to go from the reference to the aligned
model. 0 is the reference, 1 is the aligned model, a value between them lies
between the two, and a value above 1 goes beyond the aligned model. If the
aligned model was trained at KL strength beta0 (give it with --aligned-beta),
lam stands for training at strength beta0 / lam. So lam 0.5 regularises twice
as strongly, and lam 2 half as strongly."""


def add_models(parser: argparse.ArgumentParser, prompts: str = "Texts to continue.") -> None:
    """Add the pair of models, the prompts that are given as arguments, and how to load models.

    Args:
        parser: the command's parser.
        prompts: what the prompts are for.
    """
    parser.add_argument(
        "reference",
        metavar="REFERENCE",
        help="The reference (SFT) model, a folder or a Hub id; or a PEFT adapter, which is put on "
        "its base. Its tokenizer is used.",
    )
    parser.add_argument(
        "aligned",
        metavar="ALIGNED",
        help="The aligned model, or a PEFT adapter that was trained on REFERENCE or beside it.",
    )
    parser.add_argument("prompts", metavar="PROMPT", nargs="*", help=prompts)
    models = parser.add_argument_group("models")
    models.add_argument(
        "--aligned-beta",
        metavar="BETA0",
        type=number(float, maximum=MAX_BETA, positive=True),
        help="The KL strength at which the aligned model was trained.",
    )
    models.add_argument(
        "--adapter-merge",
        action="store_true",
        help="Merge the adapter into a second copy of REFERENCE. This takes twice the memory.",
    )
    models.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="The precision of the weights (default: as they were saved).",
    )
    _add_device(models)
    _add_places(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Add where exactly the models are, and on which base."""
    places = parser.add_argument_group("which models")
    places.add_argument(
        "--base",
        metavar="BASE",
        help="The base of a REFERENCE that is an adapter (default: the one that it names).",
    )
    places.add_argument(
        "--aligned-on",
        choices=["base", "reference"],
        help="What ALIGNED was trained on, where both are adapters: the base itself, or REFERENCE "
        "merged into it (default: what ALIGNED names as its base).",
    )
    for kind, what in (
        ("revision", "branch, tag or commit on the Hub"),
        ("subfolder", "folder inside the folder or repository"),
    ):
        metavar = kind.upper()
        places.add_argument(
            f"--{kind}", metavar=metavar, help=f"The {what} of REFERENCE and ALIGNED."
        )
        places.add_argument(
            f"--aligned-{kind}", metavar=metavar, help=f"The {what} of ALIGNED, where it differs."
        )
        places.add_argument(
            f"--base-{kind}", metavar=metavar, help=f"The {what} of BASE (needs --base)."
        )


def _add_device(models: argparse._ActionsContainer) -> None:
    where = models.add_mutually_exclusive_group()
    where.add_argument(
        "--device",
        metavar="DEVICE",
        help="Where both models run, for example cpu, cuda or cuda:1 (default: cuda if there is "
        "one).",
    )
    where.add_argument(
        "--device-map",
        metavar="MAP",
        help="Spread the models over the devices by this device_map of transformers, for example "
        "auto.",
    )


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Add where prompts come from."""
    prompts = parser.add_argument_group(
        "prompts",
        "Prompts are read from the arguments, from a file, or from standard input (one a line).",
    )
    prompts.add_argument(
        "--prompts",
        metavar="FILE",
        type=Path,
        dest="prompts_file",
        help="Read prompts from a .txt file (one a line) or a .jsonl file (a JSON object a line).",
    )
    prompts.add_argument(
        "--prompt-field",
        metavar="NAME",
        default="prompt",
        help="The field of a .jsonl file's objects that holds the prompt (default prompt). With "
        "--chat it may be a conversation, a list of turns with role and content.",
    )
    prompts.add_argument(
        "--chat",
        action="store_true",
        help="Wrap each prompt in the tokenizer's chat template, as the user's turn.",
    )
    add_template(prompts, "needs --chat; ")


def add_template(group: argparse._ActionsContainer, needs: str = "") -> None:
    """Add how a chat is written for the models; `needs` says which option that takes."""
    group.add_argument(
        "--system",
        metavar="TEXT",
        help=f"Begin each chat with this system message ({needs}default: the template's own).",
    )
    group.add_argument(
        "--chat-template",
        choices=["reference", "aligned"],
        help=f"Use the chat template of this model ({needs}default: that of REFERENCE, if it has "
        "one).",
    )
    group.add_argument(
        "--template-arguments",
        metavar="JSON",
        type=json_object,
        help=f"Give these arguments to the chat template ({needs}default: none), for example "
        "'{\"enable_thinking\": false}'.",
    )


def add_decoding(parser: argparse.ArgumentParser, samples: int) -> None:
    """Add how much to decode, and what to show meanwhile."""
    decoding = parser.add_argument_group("decoding")
    add_drawing(decoding, 64, "completions")
    decoding.add_argument(
        "--samples",
        metavar="N",
        type=number(int, 1, MAX_COUNT),
        default=samples,
        help=f"Draw this many completions of each prompt at each lam (default {samples}).",
    )
    decoding.add_argument(
        "--batch-size",
        metavar="N",
        type=number(int, 1, MAX_COUNT),
        default=64,
        help="Decode this many completions at a time (default 64).",
    )


def add_compiled(group: argparse._ActionsContainer) -> None:
    """Add whether decoding is compiled."""
    group.add_argument(
        "--compiled",
        action="store_true",
        help="Compile the steps of decoding when they are first run. This takes up to a minute, "
        "and may be done again for texts of another length. A token then takes a fraction of the "
        "time on a GPU, or with small models.",
    )


def add_drawing(group: argparse._ActionsContainer, max_new_tokens: int, what: str) -> None:
    """Add how long what is drawn may be, its seed, and what to show meanwhile.

    Args:
        group: the group that gets the arguments.
        max_new_tokens: the default limit.
        what: what is drawn, in the plural.
    """
    group.add_argument(
        "--max-new-tokens",
        metavar="N",
        type=number(int, 1, MAX_COUNT),
        default=max_new_tokens,
        help=f"Cut {what} after this many tokens (default {max_new_tokens}).",
    )
    group.add_argument(
        "--seed",
        metavar="N",
        type=number(int, 0, MAX_SEED),
        default=0,
        help="The seed of all random draws (default 0).",
    )
    group.add_argument("--quiet", action="store_true", help="Show no progress bars.")
    group.add_argument("--debug", action="store_true", help="Show the traceback of an error.")


def add_lams(
    parser: argparse._ActionsContainer, text: str, default: tuple[float, ...] | None = None
) -> None:
    """Add a list of mixing weights; `text` says what they are for."""
    parser.add_argument(
        "--lams",
        metavar="LIST",
        type=lam_list,
        default=default,
        help=f"{text} Write 0,0.5,1 or start:stop:step, as in 0:2:0.25.",
    )


def add_output(
    parser: argparse.ArgumentParser, metavar: str, text: str, required: bool = False
) -> None:
    """Add a file for the results; `text` says what is written there."""
    parser.add_argument("--output", metavar=metavar, type=Path, required=required, help=text)


def add_metric(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add the metric that judges completions."""
    parser.add_argument(
        "--metric",
        metavar="FILE.py:FUNCTION",
        required=required,
        help="Judge completions by this function(prompts, completions). It returns one number for "
        "each completion, and higher is better. package.module:FUNCTION works too.",
    )


def check_enough(args: argparse.Namespace, prompts: Sequence[str]) -> None:
    """Refuse too few prompts or samples for intervals.

    Raises:
        ValueError: if there are fewer than two prompts or fewer than two samples.
    """
    if len(prompts) < 2:
        raise ValueError(
            "intervals come from differences between prompts: "
            f"at least two are needed, got {len(prompts)}"
        )
    if args.samples < 2:
        raise ValueError(
            f"--samples {args.samples} is too few: "
            "the estimates need at least two completions of each prompt"
        )
