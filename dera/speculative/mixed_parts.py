"""The parts that have a share in the mixture, their caches, and how their logits are mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dera.mixing import mix_present
from dera.speculative.draft_cache import DraftCache
from dera.speculative.unsupported import window_of


class MixedParts:
    """The parts that have a share, in the model's order. Here their indices count from 0.

    Args:
        model: the realigned model.
        weights: lam of each row and aligned model, shape (rows, aligned models).

    Attributes:
        caches: one for each part.
        shares: each part's exponent in the mixture, averaged over rows.
    """

    def __init__(self, model: Any, weights: Tensor):
        self.weights = weights
        has_share = model.parts_with_share(weights)
        self._number_of_all = len(has_share)
        self._present = [i for i, has in enumerate(has_share) if has]
        self.caches = [DraftCache(model.parts[i], model.vocabulary_size) for i in self._present]
        shares = [float((1 - weights.sum(-1)).mean()), *weights.mean(0).tolist()]
        self.shares = [shares[i] for i in self._present]
        self._window = min(window_of(cache.part) for cache in self.caches)

    def mixed(self, logits: Sequence[Tensor]) -> Tensor:
        """Mix the logits of the parts, each of shape (rows, time, vocabulary)."""
        of_all: list[Tensor | None] = [None] * self._number_of_all
        for i, of_part in zip(self._present, logits, strict=True):
            of_all[i] = of_part
        return mix_present(of_all, self.weights)

    def select(self, going: Tensor) -> None:
        """Go on with these rows alone."""
        self.weights = self.weights[going]
        for cache in self.caches:
            cache.select(going)

    def compact(self) -> None:
        """Let caches with many wasted columns move their tokens together."""
        for cache in self.caches:
            cache.compact(self._window)

    def passes(self) -> dict[str, int]:
        """Return how often each part was called, by its name."""
        return {cache.part.name: cache.passes for cache in self.caches}
