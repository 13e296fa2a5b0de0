"""The arguments of transformers' `generate`: what they say, and which of them are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dera.model.asked import ASKED, check_supported


def batch_size_of(args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """Return the number of rows of the first tensor among the arguments, or 1 if there is none."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.shape[0]
    return 1


def completion_start_of(
    args: Sequence[Any], kwargs: dict[str, Any], is_encoder_decoder: bool
) -> int:
    """Return the column of the first token of the completions, padding counted.

    It is the length of the text that the decoder is given. A decoder that is given no text begins
    with one start token.
    """
    if is_encoder_decoder:
        ids = kwargs.get("decoder_input_ids")
    elif args:
        ids = args[0]
    else:
        ids = kwargs.get("inputs", kwargs.get("input_ids"))
    return 1 if ids is None else ids.shape[1]


#: Settings of `generate` that a mixture cannot honour, and why.
_REFUSED_SETTINGS = {
    "use_mtp": "the heads that draft belong to one model and not to the mixture: leave it out, or "
    "pass speculative=True",
    "assistant_early_exit": "a mixture has no layers to leave early: leave it out, or pass "
    "speculative=True",
    "speculation_type": "the drafter needs the embeddings of one model: leave it out, or pass "
    "speculative=True",
    "penalty_alpha": "contrastive search is code from the Hub, which never runs: leave it out",
    "dola_layers": "DoLa is code from the Hub, which never runs: leave it out",
    "constraints": "constrained beam search is code from the Hub, which never runs: leave it out, "
    "or pass prefix_allowed_tokens_fn=",
    "force_words_ids": "constrained beam search is code from the Hub, which never runs: leave it "
    "out, or pass prefix_allowed_tokens_fn=",
    "num_beam_groups": "group beam search is code from the Hub, which never runs: leave it out, or "
    "pass num_beams= alone",
    "diversity_penalty": "group beam search is code from the Hub, which never runs: leave it out",
    "low_memory": "transformers has no such beam search any more: leave it out",
    "continuous_batching_config": "continuous batching runs one model without lam: leave it out, "
    "or use dera.sample_completions, in which finished rows leave the batch",
}

#: Kinds of caches that a mixture does not have.
_REFUSED_CACHES = {
    "paged": "continuous batching runs one model without lam: leave it out, or use "
    "dera.sample_completions, in which finished rows leave the batch",
    "quantized": "its caches are kept as they are: leave it out, or use 'offloaded'",
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of `generate` that would be ignored, or run code that the caller brings.

    Raises:
        ValueError: naming the argument.
    """
    check_supported(arguments)
    if isinstance(arguments.get("custom_generate"), str):
        raise ValueError(
            f"custom_generate={arguments['custom_generate']!r} names code on the Hub, which never "
            "runs: pass a function of your own as custom_generate="
        )
    if arguments.get("trust_remote_code"):
        raise ValueError(
            "trust_remote_code=True cannot be given, because remote code never runs: leave it out"
        )
    if arguments.get("assistant_tokenizer") is not None and not arguments.get("assistant_model"):
        raise ValueError(
            "assistant_tokenizer= does nothing without an assistant: give assistant_model= too, or "
            "leave it out"
        )


def check_settings(config: Any) -> None:
    """Refuse generation settings that a mixture cannot honour.

    Args:
        config: the settings of a call, with those of the checkpoint and of the arguments.

    Raises:
        ValueError: naming the setting.
    """
    for name, reason in _REFUSED_SETTINGS.items():
        value = getattr(config, name, None)
        is_neutral = value in (None, False, 0) or (name == "num_beam_groups" and value == 1)
        if not is_neutral:
            raise ValueError(f"{name}={value} cannot be given, because {reason}")
    if config.cache_implementation in _REFUSED_CACHES:
        kind = config.cache_implementation
        raise ValueError(
            f"cache_implementation={kind!r} cannot be given, because {_REFUSED_CACHES[kind]}"
        )


def check_drafting(config: Any) -> None:
    """Refuse outputs of each part where tokens are drafted, because transformers cuts them apart.

    Args:
        config: the settings of a call in which an assistant or prompt lookup drafts tokens.

    Raises:
        ValueError: naming the setting that asks for them.
    """
    for name in ASKED:
        if config.return_dict_in_generate and getattr(config, name):
            raise ValueError(
                f"{name}= cannot be given where an assistant or prompt lookup drafts tokens: "
                "leave one of the two out"
            )
