"""The arguments that the parts are called with, for decoders and for encoder-decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.generic import TransformersKwargs

from dera.model.conventions import decoder_ids_from_labels
from dera.model.padding import padding_last, positions_of, put_back
from dera.model.parts import Part

#: The arguments that transformers and its users pass to any model. A part that does not know one of
#: them returns the same logits without it; `check_supported` has refused those of another kind.
COMMON_ARGUMENTS = {"return_dict", "num_items_in_batch", *TransformersKwargs.__optional_keys__}


@dataclass
class PartInputs:
    """The arguments of one call of the parts.

    Attributes:
        shared: what every part gets, by the name of the argument.
        encoder_outputs: the output of each part's own encoder, None for a part that does not run;
            None as a whole for decoders.
        columns: where the decoder's tokens stood before padding was moved to the end of each row,
            shape (batch, time); None if it was not moved.
    """

    shared: dict[str, Any]
    encoder_outputs: Sequence[BaseModelOutput | None] | None = None
    columns: Tensor | None = None

    def of_part(self, index: int) -> dict[str, Any]:
        """Return the arguments of one part."""
        if self.encoder_outputs is None:
            return self.shared
        return {**self.shared, "encoder_outputs": self.encoder_outputs[index]}

    def in_order(self, values: Tensor) -> Tensor:
        """Put values of shape (batch, time, features) back to where the tokens stood."""
        return values if self.columns is None else put_back(values, self.columns.to(values.device))


def decoder_only_tokens(input_ids: Tensor | None) -> Tensor:
    """Return the tokens that decoder-only models read, shape (batch, time).

    Raises:
        ValueError: if there are none.
    """
    if input_ids is None:
        raise ValueError("forward needs input_ids, and got none: pass the tokens to continue")
    return input_ids


def decoder_tokens(
    decoder_input_ids: Tensor | None, labels: Tensor | None, reference: Part
) -> Tensor:
    """Return the tokens that the decoders of encoder-decoders read, shape (batch, time).

    Args:
        decoder_input_ids: these tokens, where the caller gives them.
        labels: the tokens to score. Where `decoder_input_ids` is absent, the reference makes the
            decoder's tokens from them.
        reference: the reference.

    Raises:
        ValueError: if neither is given.
    """
    if decoder_input_ids is not None:
        return decoder_input_ids
    if labels is None:
        raise ValueError(
            "an encoder-decoder's forward needs decoder_input_ids or labels, and got neither: "
            "pass one of them, or call generate"
        )
    return decoder_ids_from_labels(reference.base, labels)


def decoder_inputs(
    tokens: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    options: dict[str, Any],
    first_position: int = 0,
) -> PartInputs:
    """Return the arguments of decoders. Where no positions are given, the mask tells them.

    Args:
        tokens: the new tokens, shape (batch, time).
        attention_mask: 1 for tokens and 0 for padding, shape (batch, past + time).
        position_ids: the positions of the new tokens, shape (batch, time).
        options: more arguments for the parts.
        first_position: the position id of a text's first token.
    """
    if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
        position_ids = positions_of(attention_mask)[:, -tokens.shape[1] :] + first_position
    shared = dict(
        options, input_ids=tokens, attention_mask=attention_mask, position_ids=position_ids
    )
    return PartInputs(shared)


def encoder_decoder_inputs(
    tokens: Tensor,
    attention_mask: Tensor | None,
    decoder_attention_mask: Tensor | None,
    encoder_outputs: Sequence[BaseModelOutput | None],
    options: dict[str, Any],
) -> PartInputs:
    """Return the arguments of encoder-decoders.

    Without a cache, padding may stand anywhere among the decoder's tokens. It is then moved to the
    end of each row, and logits are computed for all positions, so that they can be put back in
    order.

    Args:
        tokens: the decoder's new tokens, shape (batch, time).
        attention_mask: the mask of what the encoders read, shape (batch, source time).
        decoder_attention_mask: the mask of the decoder's tokens, shape (batch, past + time).
        encoder_outputs: the output of each part's own encoder.
        options: more arguments for the parts, `use_cache` among them.
    """
    columns = None
    if not options["use_cache"] and decoder_attention_mask is not None:
        tokens, decoder_attention_mask, columns = padding_last(tokens, decoder_attention_mask)
        options = {**options, "logits_to_keep": 0}
    shared = dict(
        options,
        attention_mask=attention_mask,
        decoder_input_ids=tokens,
        decoder_attention_mask=decoder_attention_mask,
    )
    return PartInputs(shared, encoder_outputs, columns)


def known_arguments(parts: Sequence[Part]) -> set[str]:
    """Return the names of all arguments that a part, or any model of transformers, takes."""
    return COMMON_ARGUMENTS.union(*(part.known for part in parts))


def check_known(arguments: dict[str, Any], known: set[str]) -> None:
    """Refuse arguments that no part takes, so that a misspelt one does not pass unnoticed.

    Raises:
        TypeError: naming these arguments.
    """
    given = [name for name, value in arguments.items() if value is not None]
    unknown = sorted(name for name in given if name not in known)
    if unknown:
        raise TypeError(
            f"neither RealignedModel nor the models it mixes know the arguments {unknown}: "
            "remove them, or correct their spelling"
        )
