"""Which of the models a call runs, and how: each by itself, or all in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dera.model.cache import RealignedCache
from dera.model.parts import Part
from dera.one_pass.one_pass import OnePass
from dera.weights import Lam, as_lam, scheduled_lam


class RealignedReading:
    """What `RealignedModel.forward` asks of its models."""

    parts: list[Part]
    names: list[str]
    one_pass: OnePass | None
    vocabulary_size: int
    training: bool

    def parts_with_share(self, weights: Tensor) -> list[bool]:
        """Which models have a share in the mixture of any row, the reference first; `weights` as `as_lam` returns them."""
        return [bool((weights.sum(-1) != 1).any()), *(weights != 0).flatten(0, -2).any(0).tolist()]

    def _weights(
        self, lam: Lam, tokens: Tensor, past: int, completion_start: int | Tensor, keep: int
    ) -> Tensor:
        """lam of shape (batch, models), or (batch, time, models) for a schedule."""
        batch_size, time = tokens.shape
        if not callable(lam):
            return as_lam(lam, batch_size, tokens.device, self.names)
        columns = torch.arange(past + 1, past + time + 1, device=tokens.device)[
            -keep:
        ]  # of the tokens that are predicted
        starts = torch.as_tensor(completion_start, device=tokens.device).reshape(-1, 1)
        return scheduled_lam(
            lam, (columns - starts).clamp(min=0).expand(batch_size, -1), self.names
        )

    def _run(
        self, weights: Tensor, output_parts: bool, scheduled: bool, cache: RealignedCache | None
    ) -> list[bool]:
        """Which parts to run."""
        all_of_them = output_parts or (
            scheduled and cache is not None
        )  # a schedule may need any part later
        needed = [True] * len(self.parts) if all_of_them else self.parts_with_share(weights)
        return needed if cache is None else cache.run_only(needed)

    def _read(
        self,
        run: list[bool],
        inputs: dict[str, Any],
        states: list[Any] | None,
        cache: RealignedCache | None,
    ) -> dict[int, Tensor]:
        """The logits of each part that is run, by its index: all in one pass where they are one model with adapters."""
        running = [i for i, runs in enumerate(run) if runs]
        stack = self._stack_for(running, cache)
        caches = [None] * len(run) if cache is None else cache.parts
        if stack is not None:
            found = stack(
                running, **self.parts[0].known_of(inputs), past_key_values=caches[running[0]]
            )
            return dict(zip(running, found, strict=True))
        own: dict[int, Any] = (
            {} if states is None else {i: {"encoder_outputs": states[i]} for i in running}
        )
        return {
            i: self.parts[i](**inputs, **own.get(i, {}), past_key_values=caches[i]).logits
            for i in running
        }

    def _stack_for(self, running: list[int], cache: RealignedCache | None) -> OnePass | None:
        """What reads these parts in one pass, for which a cache that is empty is made ready; None where each is read by itself.

        An aligned model that runs alone is left to PEFT, to be the aligned model bit for bit.
        """
        if cache is not None and cache.get_seq_length():
            return self.one_pass if cache.is_one_pass else None
        alone = len(running) == 1 and running != [0]
        if self.one_pass is None or alone or self.training or not self.one_pass.ready:
            return None
        return (
            self.one_pass
            if cache is None or cache.stack(running, self.one_pass.cache(len(running)))
            else None
        )

    def _kept(self, logits: Tensor, keep: int, device: torch.device) -> Tensor:
        """Logits of the positions asked for and of the tokens that all parts have."""
        return logits[:, -keep:, : self.vocabulary_size].to(device)
