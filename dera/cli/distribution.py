"""What `dera generate` draws completions from: the model's own distribution, or another one."""

from __future__ import annotations

import argparse
import copy
from typing import TYPE_CHECKING, Any

from dera.cli.values import MAX_COUNT, number

if TYPE_CHECKING:
    from dera import RealignedModel


#: Settings of a checkpoint that do not change which completions are drawn, or that the command's
#: arguments always replace.
_NO_SHAPE = {
    "bos_token_id",
    "cache_implementation",
    "decoder_start_token_id",
    "do_sample",
    "eos_token_id",
    "max_length",
    "max_new_tokens",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "return_dict_in_generate",
    "transformers_version",
    "use_cache",
}
#: What changes nothing, for settings that are numbers.
_NEUTRAL = {"top_k": 0, "min_length": 0, "no_repeat_ngram_size": 0}
#: Settings that matter only where tokens are drawn.
_OF_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "top_h",
    "epsilon_cutoff",
    "eta_cutoff",
)


def add_distribution(parser: argparse.ArgumentParser, exact: bool = True) -> None:
    """Add the arguments that change the distribution, with --exact where the command has it."""
    group = parser.add_argument_group(
        "another distribution",
        "By default completions are drawn from the realigned model's own distribution, which the "
        "generation settings of ALIGNED change if it has any (a temperature, a repetition "
        "penalty). The command then says so.",
    )
    group.add_argument(
        "--own-distribution",
        action="store_true",
        help="Leave the generation settings of ALIGNED out.",
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
    if not exact:
        return
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
    ways = [f"--{way}" for way in ("speculative", "compiled") if getattr(args, way, False)]
    if args.exact and ways:
        raise ValueError(
            f"--exact {args.exact} decodes in a way of its own, so {ways[0]} would do nothing: "
            "leave one of them out"
        )
    if len(ways) > 1:
        raise ValueError(
            "--speculative and --compiled are two ways of decoding: leave one of them out"
        )
    if args.greedy and args.samples > 1:
        raise ValueError(
            f"--greedy gives one completion, so --samples {args.samples} would repeat it: "
            "leave one of them out"
        )


def generation_config(
    model: RealignedModel, args: argparse.Namespace, ends: tuple[int, ...], pad: int
) -> Any:
    """Return transformers' settings: the checkpoint's, with what the command's arguments ask for.

    A checkpoint may bring settings of its own, such as top_k or a repetition penalty. They apply as
    in `RealignedModel.generate`, unless --own-distribution leaves them out. Whether tokens are
    drawn is for the command to say.

    Args:
        model: the model that will generate.
        args: the command's arguments.
        ends: tokens that end a completion.
        pad: the padding token.
    """
    from transformers import GenerationConfig

    # Each request of the command is one row, of tokens alone.
    config = GenerationConfig() if args.own_distribution else copy.deepcopy(model.generation_config)
    if args.greedy:
        drawing: dict[str, Any] = dict.fromkeys(_OF_SAMPLING)
    else:
        drawing = dict(
            temperature=args.temperature or config.temperature or 1.0,
            top_p=args.top_p or config.top_p or 1.0,
            # 0 is all tokens; transformers' own default would be 50
            top_k=args.top_k or config.top_k or 0,
        )
    config.update(
        max_new_tokens=args.max_new_tokens,
        max_length=None,
        eos_token_id=list(ends),
        pad_token_id=pad,
        decoder_start_token_id=_decoder_start(model),
        num_return_sequences=1,
        return_dict_in_generate=False,
        do_sample=not args.greedy,
        **drawing,
    )
    return config


def said_of_checkpoint(model: RealignedModel, args: argparse.Namespace) -> str | None:
    """Return a sentence about the checkpoint's settings that apply; None if there are none.

    Args:
        model: the model, with the settings of its checkpoint.
        args: the command's arguments.
    """
    if args.own_distribution or args.exact:
        return None
    # What an argument sets, or greedy decoding ignores, is not the checkpoint's.
    replaced = {name for name in ("temperature", "top_p", "top_k") if getattr(args, name)}
    replaced |= set(_OF_SAMPLING) if args.greedy else set()
    applying = {
        name: value
        for name, value in model.generation_config.to_diff_dict().items()
        if name not in _NO_SHAPE | replaced
        and not name.startswith("_")
        and value not in (None, False)
        and value != _NEUTRAL.get(name, 1)
    }
    if not applying:
        return None
    shown = ", ".join(f"{name}={value}" for name, value in sorted(applying.items()))
    return (
        f"the generation settings of ALIGNED apply, as in Python: {shown} "
        "(--own-distribution leaves them out)"
    )


def _decoder_start(model: RealignedModel) -> int | None:
    """Return the token an encoder-decoder's decoder starts with; None for other models."""
    start = getattr(model.generation_config, "decoder_start_token_id", None)
    if start is not None:
        return start
    return getattr(model.config, "decoder_start_token_id", None)
