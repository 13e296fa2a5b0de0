"""Log-probabilities of sampled tokens, which sampling computes anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: What TRL calls the columns of log-probabilities of a pair's completions under the reference, in
#: nats. Their end-of-sequence tokens count.
CHOSEN_LOGP, REJECTED_LOGP = "ref_chosen_logps", "ref_rejected_logps"


class SampledLogProbs:
    """Collects the log-probabilities of sampled tokens, step by step.

    Args:
        rows: how many completions are sampled at once.
    """

    def __init__(self, rows: int):
        self._rows = rows
        self._columns: list[Tensor] = []

    def add(self, rows: Tensor, output: Any, chosen: Tensor) -> None:
        """Keep those of one step. It is an `on_step` for `sample_completions`."""
        log_probs = output.logits[:, -1].float().log_softmax(-1)
        column = log_probs.new_zeros(self._rows)
        column[rows] = log_probs.gather(-1, chosen[:, None])[:, 0]
        self._columns.append(column)

    def together(self) -> Tensor:
        """Return all of them, shape (rows, steps). Those of padding are 0."""
        return torch.stack(self._columns, 1)
