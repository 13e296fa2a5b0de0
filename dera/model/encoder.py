"""The encoders of several encoder-decoder models, which transformers handles as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from dera.model.conventions import encoder_size
from dera.model.padding import padding_last, put_back
from dera.model.parts import Part
from dera.weights import Lam, as_lam

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel


class JoinedEncoder:
    """Runs every part's encoder, and joins their hidden states along the last axis.

    `generate` repeats and selects the rows of encoder outputs, for example for beams. It can do so
    to one tensor with rows first. The tensor is cut apart again before the decoders see it.
    """

    def __init__(self, model: RealignedModel):
        self.model = model
        self.parts = model.parts

    def __call__(self, *args: Any, **kwargs: Any) -> BaseModelOutput:
        return self.forward(*args, **kwargs)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        run: Sequence[bool] | None = None,
        lam: Lam | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Return hidden states of shape (batch, time, sum of hidden sizes).

        They are zeros where a part is not run.

        Args:
            input_ids: shape (batch, time).
            attention_mask: 1 for tokens and 0 for padding on either side, of the same shape.
            run: which parts to run. When absent these are the parts that have a share at `lam`, or
                all parts if `lam` is absent too or is a schedule.
            lam: any `dera.weights.Lam`.
        """
        # Find the parts to run.
        if run is None and lam is not None and not callable(lam):
            run = self.model.parts_with_share(as_lam(lam, len(input_ids), names=self.model.names))
        if run is None:
            run = [True] * len(self.parts)

        # Some encoders count positions from the first column, so padding is moved to the end, and
        # the states are put back to where the decoders expect them after all encoders have run.
        columns = None
        if attention_mask is not None:
            input_ids, attention_mask, columns = padding_last(input_ids, attention_mask)
        states = [
            self._states(part, input_ids, attention_mask) if runs else self._zeros(part, input_ids)
            for part, runs in zip(self.parts, run, strict=True)
        ]
        joined = torch.cat(states, -1)
        if columns is not None:
            joined = put_back(joined, columns)
        return BaseModelOutput(last_hidden_state=joined)

    @property
    def sizes(self) -> list[int]:
        """The hidden size of each part's encoder."""
        return [encoder_size(part.base) for part in self.parts]

    def split(self, joined: BaseModelOutput, run: Sequence[bool]) -> list[BaseModelOutput | None]:
        """Return each part's own encoder output in its own precision, None for parts not run.

        Raises:
            ValueError: if the states are not those of this model's encoder.
        """
        states = joined[0]
        if states.shape[-1] != sum(self.sizes):
            raise ValueError(
                f"encoder_outputs have {states.shape[-1]} features, but the encoders together have "
                f"{sum(self.sizes)}: pass what this model's get_encoder() returned"
            )
        outputs: list[BaseModelOutput | None] = []
        for part, runs, of_part in zip(self.parts, run, states.split(self.sizes, -1), strict=True):
            if runs:
                of_part = part.on_device(of_part.to(part.base.dtype))
                outputs.append(BaseModelOutput(last_hidden_state=of_part))
            else:
                outputs.append(None)
        return outputs

    def _states(self, part: Part, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return one part's hidden states, float32."""
        evaluates = not self.model.training
        states = part.encode(evaluates, input_ids=input_ids, attention_mask=attention_mask)
        return states.to(input_ids.device).float()

    def _zeros(self, part: Part, input_ids: Tensor) -> Tensor:
        """Return zeros in the place of the hidden states of a part that is not run."""
        return torch.zeros(*input_ids.shape, encoder_size(part.base), device=input_ids.device)
