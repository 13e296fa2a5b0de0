"""What `dera generate` draws completions from: the model's own distribution, or another one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dera.cli.values import MAX_COUNT, number

if TYPE_CHECKING:
    from dera import RealignedModel


def add_distribution(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that change the distribution."""
    group = parser.add_argument_group(
        "another distribution",
        "By default completions are drawn from the realigned model's own distribution.",
    )
    group.add_argument("--greedy", action="store_true", help="Always take the most probable token.")
    group.add_argument(
        "--temperature",
        metavar="T",
        type=number(float, 1e-5, 1e5),
        help="Draw more cautiously than the model (T below 1) or less cautiously (T above 1; "
        "default 1).",
    )
    group.add_argument(
        "--top-p",
        metavar="P",
        type=number(float, maximum=1, positive=True),
        help="Draw only from the most probable tokens that make up the probability P (default 1).",
    )
    group.add_argument(
        "--top-k",
        metavar="K",
        type=number(int, 1, MAX_COUNT),
        help="Draw only from the K most probable tokens (default: from all).",
    )
    group.add_argument(
        "--exact",
        metavar="PARTICLES",
        type=number(int, 2, MAX_COUNT),
        help="Sample the exact mixture over whole completions, which decoding token by token only "
        "approximates. Each completion is picked from PARTICLES candidates, so with 16 it costs 16 "
        "times as much.",
    )


def check_distribution(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other.

    Raises:
        ValueError: naming two options that do.
    """
    values = {"--temperature": args.temperature, "--top-p": args.top_p, "--top-k": args.top_k}
    changes = [f"{option} {value:g}" for option, value in values.items() if value is not None]
    if args.greedy and changes:
        raise ValueError(
            f"--greedy takes the most probable token, so {changes[0]} would do nothing: "
            "leave one of them out"
        )
    if args.exact and (args.greedy or changes):
        conflict = "--greedy" if args.greedy else changes[0]
        raise ValueError(
            f"--exact {args.exact} samples one distribution, and {conflict} asks for another: "
            "leave one of them out"
        )
    if args.exact and args.speculative:
        raise ValueError(
            f"--exact {args.exact} decodes in a way of its own, so --speculative would do nothing: "
            "leave one of them out"
        )
    if args.greedy and args.samples > 1:
        raise ValueError(
            f"--greedy gives one completion, so --samples {args.samples} would repeat it: "
            "leave one of them out"
        )


def generation_config(
    model: RealignedModel, args: argparse.Namespace, ends: tuple[int, ...], pad: int
) -> Any:
    """Return transformers' settings with only what the command's arguments ask for.

    Checkpoints bring settings of their own, such as top_k or a repetition penalty. These are not
    used.

    Args:
        model: the model that will generate.
        args: the command's arguments.
        ends: tokens that end a completion.
        pad: the padding token.
    """
    from transformers import GenerationConfig

    common = dict(
        max_new_tokens=args.max_new_tokens,
        eos_token_id=list(ends),
        pad_token_id=pad,
        decoder_start_token_id=_decoder_start(model),
    )
    if args.greedy:
        return GenerationConfig(**common, do_sample=False)
    return GenerationConfig(
        **common,
        do_sample=True,
        temperature=args.temperature or 1.0,
        top_p=args.top_p or 1.0,
        top_k=args.top_k or 0,  # 0 is all tokens; transformers' own default would be 50
    )


def _decoder_start(model: RealignedModel) -> int | None:
    """Return the token an encoder-decoder's decoder starts with; None for other models."""
    start = getattr(model.generation_config, "decoder_start_token_id", None)
    if start is not None:
        return start
    return getattr(model.config, "decoder_start_token_id", None)
