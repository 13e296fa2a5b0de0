"""What a call of the realigned model returns: mixed logits, and the loss of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.loss.loss_utils import ForCausalLMLoss
from transformers.modeling_outputs import ModelOutput

from dera.model.cache import RealignedCache


@dataclass
class RealignedOutput(ModelOutput):
    """The output of transformers' language models, and the logits that were mixed.

    Attributes:
        loss: the mean cross-entropy of the labels, where labels were given.
        logits: the mixed logits, float32 of shape (batch, time, vocabulary).
        past_key_values: the cache, where one is used.
        reference_logits: the logits of the reference, of the same shape, where they were asked for.
        aligned_logits: the logits of the aligned model. With more than one aligned model these are
            a tuple, which has the logits of each.
        hidden_states, attentions: where they were asked for, a tuple with an entry for each model
            that is mixed, the reference first. An entry is what that model returns, a tensor a
            layer; None for a model without a share in the mixture, which was not run.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: RealignedCache | None = None
    reference_logits: Tensor | None = None
    aligned_logits: Tensor | tuple[Tensor, ...] | None = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


def aligned_output(logits: Sequence[Tensor | None]) -> Any:
    """Return the logits of the aligned model; a tuple if there is more than one aligned model.

    Args:
        logits: the logits of the reference, then of the aligned models; all of them were run.
    """
    aligned = tuple(logits[1:])
    return aligned[0] if len(aligned) == 1 else aligned


def loss_of(
    logits: Tensor, labels: Tensor, is_encoder_decoder: bool, items: Tensor | int | None = None
) -> Tensor:
    """Return the mean cross-entropy of the labels, as transformers computes it.

    Args:
        logits: shape (batch, time, vocabulary).
        labels: token ids, -100 to ignore, shape (batch, time). The logits of a decoder-only model
            predict the label of the next position. Those of an encoder-decoder predict the label of
            the same position.
        is_encoder_decoder: whether the model is an encoder-decoder and not decoder-only.
        items: divide the sum by this number instead of the number of labels. transformers' trainer
            passes it as `num_items_in_batch`.
    """
    if is_encoder_decoder:
        targets = labels.to(logits.device).flatten()
        total = nn.functional.cross_entropy(logits.flatten(0, 1), targets, reduction="sum")
        return total / ((targets != -100).sum() if items is None else items)
    return ForCausalLMLoss(logits, labels, vocab_size=logits.shape[-1], num_items_in_batch=items)  # type: ignore[arg-type]
