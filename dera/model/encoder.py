"""The encoders of several encoder-decoder models as one, in the form transformers' `generate` handles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from dera.model.padding import padding_last, put_back
from dera.weights import Lam, as_lam

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel


class JoinedEncoder:
    """Runs every part's encoder and joins their hidden states along the last axis.

    One tensor with rows first survives whatever `generate` does to encoder outputs (repeating rows for beams, selecting them),
    and is cut apart again before the decoders see it.
    """

    def __init__(self, model: RealignedModel):
        self.model, self.parts = model, model.parts

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
        """Hidden states of shape (batch, time, sum of hidden sizes); zeros where a part is not run.

        Args:
            input_ids, attention_mask: shape (batch, time).
            run: which parts to run; when absent those that have a share at `lam`, or all.
            lam: any `dera.weights.Lam`.
        """
        if run is None and lam is not None and not callable(lam):
            run = self.model.parts_with_share(as_lam(lam, len(input_ids), names=self.model.names))
        columns = None
        if attention_mask is not None:
            input_ids, attention_mask, columns = padding_last(input_ids, attention_mask)
        states = [
            part.encode(input_ids=input_ids, attention_mask=attention_mask)
            .to(input_ids.device)
            .float()
            if run is None or run[i]
            else torch.zeros(*input_ids.shape, self.sizes[i], device=input_ids.device)
            for i, part in enumerate(self.parts)
        ]
        joined = torch.cat(states, -1)
        if (
            columns is not None
        ):  # back to where the tokens stood, as the mask that the decoders get says
            joined = put_back(joined, columns)
        return BaseModelOutput(last_hidden_state=joined)

    @property
    def sizes(self) -> list[int]:
        return [part.config.hidden_size for part in self.parts]

    def split(self, joined: BaseModelOutput, run: Sequence[bool]) -> list[BaseModelOutput | None]:
        """Each part's own encoder output, in its own precision.

        Raises:
            ValueError: if the states are not those of this model's encoder.
        """
        states = joined[0]
        if states.shape[-1] != sum(self.sizes):
            raise ValueError(
                f"encoder_outputs have {states.shape[-1]} features, the encoders together {sum(self.sizes)}: "
                "pass what this model's get_encoder() returned"
            )
        return [
            BaseModelOutput(last_hidden_state=self.parts[i].here(part.to(self.parts[i].base.dtype)))
            if run[i]
            else None
            for i, part in enumerate(states.split(self.sizes, -1))
        ]
