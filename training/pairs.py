"""TRL's trainer for preference pairs, which reads the prompt of a pair once.

TRL gives each completion of a pair a row of its own, with the prompt before it. Here both share a
row (`training.shared_prompts`), which has the same loss and gradient. The shorter the completions
are beside their prompts, the more time this saves.

The trainer overrides a private method of TRL. If an update of TRL no longer calls it, a test fails
(`tests/training/test_objectives.py`).
"""

from __future__ import annotations

from typing import Any

import torch
import trl
from torch import Tensor
from torch.nn.functional import pad

from training.shared_prompts import SharedScorer, in_full_precision


class DPOTrainer(trl.DPOTrainer):
    """TRL's DPOTrainer, whose policy reads the prompt of a pair once where it can."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._shared = SharedScorer(self.accelerator.unwrap_model(self.model).config)

    def _compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False
    ) -> Any:
        # In half precision the two ways of scoring are rounded differently. The reference is scored
        # apart where it reads the pairs itself, and the policy must then be rounded alike.
        if in_full_precision(self) and not return_outputs:
            model = _PairsShareRows(model, inputs["completion_mask"], self._shared)
        return super()._compute_loss(model, inputs, return_outputs)


class _PairsShareRows:
    """A model that takes the pairs of a batch as TRL has them, and computes them in shared rows.

    Args:
        model: the model itself.
        in_completion: whether a token belongs to a completion, shape (completions, tokens).
        shared: the trainer's scorer.
    """

    def __init__(self, model: Any, in_completion: Tensor, shared: SharedScorer):
        self._model = model
        self._in_completion = in_completion
        self._shared = shared
        self.training = model.training

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
        """Return what TRL's head says of each token but the first, in the shape TRL expects."""

        def apart() -> Any:
            return self._model(input_ids=input_ids, attention_mask=attention_mask, **options)

        def log_probs_apart() -> Tensor:
            with torch.no_grad():
                of_next = apart().log_probs
            return pad(of_next, (1, 0)) * self._in_completion

        together = self._shared.score(
            self._model, input_ids, attention_mask, self._in_completion, log_probs_apart
        )
        if together is None:
            return apart()
        for name, value in vars(together).items():
            setattr(together, name, value[:, 1:])
        return together
