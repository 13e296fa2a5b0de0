"""What a caller asks of a forward beside logits: hidden states and attentions, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dera.model.parts import Part

#: The arguments that ask for something, and what they ask for.
ASKED = {"output_hidden_states": "hidden_states", "output_attentions": "attentions"}

#: Arguments of transformers' models that have no meaning, or another one, for a mixture.
_REFUSED = {
    "inputs_embeds": "each model has embeddings of its own: give the token ids as input_ids=",
    "decoder_inputs_embeds": "each model has embeddings of its own: give decoder_input_ids=",
    "output_router_logits": "a mixture has no experts to choose from: leave it out",
    "cu_seq_lens_q": "a mixture reads one text a row: pad the texts, and give attention_mask=",
    "cu_seq_lens_k": "a mixture reads one text a row: pad the texts, and give attention_mask=",
    "max_length_q": "a mixture reads one text a row: pad the texts, and give attention_mask=",
    "max_length_k": "a mixture reads one text a row: pad the texts, and give attention_mask=",
    "seq_idx": "a mixture reads one text a row: pad the texts, and give attention_mask=",
}


def check_supported(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a mixture cannot honour.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in arguments.items():
        if name in _REFUSED and value is not None and value is not False:
            raise ValueError(f"{name}= cannot be given, because {_REFUSED[name]}")
    if arguments.get("is_causal") is False:
        raise ValueError(
            "is_causal=False cannot be given, because a mixture predicts the next token: "
            "leave it out"
        )


def asked_outputs(arguments: Mapping[str, Any], config: Any) -> list[str]:
    """Return which arguments ask for an output of each part.

    Args:
        arguments: the arguments of a call of `forward`.
        config: the model's configuration, which may ask for it in all calls.

    Raises:
        ValueError: if one is asked of encoder-decoders.
    """
    if not config.is_encoder_decoder:
        defaults = {name: getattr(config, name, False) for name in ASKED}
        given = {name: arguments.get(name) for name in ASKED}
        return [name for name in ASKED if (defaults[name] if given[name] is None else given[name])]
    for name in ASKED:
        if arguments.get(name):
            raise ValueError(
                f"{name}= cannot be given for a mixture of encoder-decoders: call each of the "
                f"models that are mixed with {name}=True"
            )
    return []


def asked_of_parts(
    outputs: Mapping[int, Any], asked: Sequence[str], parts: Sequence[Part], rows: Tensor | None
) -> dict[str, tuple[Any, ...]]:
    """Return what was asked for, by the name of the output.

    Args:
        outputs: what each part that ran has returned, by its index.
        asked: the arguments that ask, as `asked_outputs` returns them.
        parts: all parts.
        rows: the rows of the batch to return, shape (rows,); None for all.

    Returns:
        For each output a tuple with an entry for each part, the reference first. An entry is what
        the part's model returns, a tensor a layer; None for a part that did not run.

    Raises:
        ValueError: if a part does not return what was asked for.
    """
    collected: dict[str, tuple[Any, ...]] = {}
    for argument in asked:
        name = ASKED[argument]
        of_parts: list[Any] = [None] * len(parts)
        for index, output in outputs.items():
            layers = getattr(output, name, None)
            if not layers or any(layer is None for layer in layers):
                raise ValueError(_missing(argument, parts[index]))
            of_parts[index] = tuple(layer if rows is None else layer[rows] for layer in layers)
        collected[name] = tuple(of_parts)
    return collected


def _missing(argument: str, part: Part) -> str:
    attention = part.config._attn_implementation
    if argument == "output_attentions" and attention != "eager":
        return (
            f"output_attentions=True needs 'eager' attention, and {part.name} has {attention!r}: "
            "load the models with attn_implementation='eager'"
        )
    return f"{argument}=True cannot be given, because {part.name} does not return it: leave it out"
