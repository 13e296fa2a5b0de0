"""What `dera generate` draws completions from: the model's own distribution unless something else is asked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dera.cli.values import number

if TYPE_CHECKING:
    from dera import RealignedModel


def add_distribution(parser: argparse.ArgumentParser) -> None:
    """The arguments that change it."""
    how = parser.add_argument_group("another distribution")
    how.add_argument("--greedy", action="store_true", help="always the most probable token")
    how.add_argument(
        "--temperature",
        metavar="T",
        type=number(float, positive=True),
        help="below 1 is more cautious, above 1 less (default 1)",
    )
    how.add_argument(
        "--top-p",
        metavar="P",
        type=number(float, most=1, positive=True),
        help="only tokens that make up this probability (default 1)",
    )
    how.add_argument(
        "--top-k",
        metavar="K",
        type=number(int, 1),
        help="only the K most probable tokens (default all)",
    )
    how.add_argument(
        "--exact",
        metavar="PARTICLES",
        type=number(int, 2),
        help="sample the exact mixture over whole completions, which decoding token by token only approximates; "
        "each completion is picked from so many, so 16 costs 16 times as much",
    )


def check_distribution(args: argparse.Namespace) -> None:
    """Refuse ways of decoding that exclude each other.

    Raises:
        ValueError: naming two that do.
    """
    ways = {"--temperature": args.temperature, "--top-p": args.top_p, "--top-k": args.top_k}
    changed = [f"{option} {value:g}" for option, value in ways.items() if value is not None]
    if args.greedy and changed:
        raise ValueError(
            f"--greedy takes the most probable token, so {changed[0]} would do nothing: leave one of them out"
        )
    if args.exact and (args.greedy or changed):
        other = "--greedy" if args.greedy else changed[0]
        raise ValueError(
            f"--exact {args.exact} samples one distribution, and {other} asks for another: choose one"
        )
    if args.exact and args.speculative:
        raise ValueError(
            f"--exact {args.exact} decodes in a way of its own, so --speculative would do nothing: leave one of them out"
        )
    if args.greedy and args.samples > 1:
        raise ValueError(
            f"--greedy gives one completion, so --samples {args.samples} would repeat it: leave one of them out"
        )


def generation_config(
    model: RealignedModel, args: argparse.Namespace, ends: tuple[int, ...], pad: int
) -> Any:
    """Only what was asked for: checkpoints bring settings such as top_k or a repetition penalty of their own."""
    from transformers import GenerationConfig

    start = getattr(model.generation_config, "decoder_start_token_id", None)
    common = dict(
        max_new_tokens=args.max_new_tokens,
        eos_token_id=list(ends),
        pad_token_id=pad,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None)
        if start is None
        else start,
    )
    if args.greedy:
        return GenerationConfig(**common, do_sample=False)
    cut = dict(
        top_p=args.top_p or 1.0, top_k=args.top_k or 0
    )  # top_k 0: transformers' own default would be 50
    return GenerationConfig(**common, do_sample=True, temperature=args.temperature or 1.0, **cut)
