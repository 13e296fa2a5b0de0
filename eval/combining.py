"""Decode a pair of models by a rule for the next token that is not DeRa's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from dera.model.realigned import RealignedModel

#: (log-probabilities of the reference, of the aligned model) -> next-token logits; each is float32
#: of shape (rows, 1, vocabulary).
Combine = Callable[[Tensor, Tensor], Tensor]


class Combined:
    """What `dera.decoding.sample_completions` needs of a model, made of a pair and a rule.

    Args:
        pair: the two models, which are both run.
        combine: makes the next-token logits from both models' log-probabilities.
    """

    def __init__(self, pair: RealignedModel, combine: Combine):
        self.pair = pair
        self.combine = combine
        self.config = pair.config
        self.device = pair.device
        self.generation_config = pair.generation_config

    def __call__(self, **inputs: Any) -> Any:
        output = self.pair(**inputs, output_parts=True)
        reference = output.reference_logits.float().log_softmax(-1)
        aligned = output.aligned_logits.float().log_softmax(-1)
        output.logits = self.combine(reference, aligned)
        return output
