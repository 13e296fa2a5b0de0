"""Choosing tokens greedily or by sampling: how to choose, compare models and accept drafts."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dera.drawing import draw
from dera.speculative.acceptance_rule import accept, accept_greedily


class Choice(Protocol):
    """A way to choose tokens from scores, which are logits after the logits processors.

    What is compared has shape (rows, 1 + parts, time, ...), with the mixture first.
    """

    def choose(self, scores: Tensor) -> Tensor:
        """Choose one token a row: scores of shape (rows, vocabulary) to tokens of shape (rows,)."""

    def predict(self, scores: Tensor) -> Tensor:
        """Return what the models predict, as `overlaps` and `accept` take it."""

    def overlaps(self, predictions: Tensor) -> Tensor:
        """Return each part's chance that the mixture accepts its draft, (rows, parts, time)."""

    def accept(
        self, drafts: Tensor, predictions: Tensor, drafter: int, ahead: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return how many drafts of each row are kept, and the token after them; both (rows,).

        Args:
            drafts: shape (rows, time).
            predictions: what `predict` returns for them.
            drafter: the index of the part that drafted.
            ahead: whether a row's first draft was chosen from the mixture itself, so that it is
                kept; shape (rows,).
        """


class Greedy:
    """Always the most probable token. Predictions are tokens, of shape (rows, 1 + parts, time)."""

    def choose(self, scores: Tensor) -> Tensor:
        return scores.argmax(-1)

    def predict(self, scores: Tensor) -> Tensor:
        return scores.argmax(-1)

    def overlaps(self, predictions: Tensor) -> Tensor:
        return (predictions[:, 1:] == predictions[:, :1]).float()

    def accept(
        self, drafts: Tensor, predictions: Tensor, drafter: int, ahead: Tensor
    ) -> tuple[Tensor, Tensor]:
        target = predictions[:, 0].clone()
        target[:, 0] = torch.where(ahead, drafts[:, 0], target[:, 0])
        return accept_greedily(drafts, target)


class Sampling:
    """A token drawn at random. Predictions are probabilities over the vocabulary (a last axis)."""

    def choose(self, scores: Tensor) -> Tensor:
        return draw(scores.softmax(-1))

    def predict(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def overlaps(self, predictions: Tensor) -> Tensor:
        return torch.minimum(predictions[:, :1], predictions[:, 1:]).sum(-1)

    def accept(
        self, drafts: Tensor, predictions: Tensor, drafter: int, ahead: Tensor
    ) -> tuple[Tensor, Tensor]:
        target = predictions[:, 0]
        proposal = predictions[:, 1 + drafter].clone()
        proposal[:, 0] = torch.where(ahead[:, None], target[:, 0], proposal[:, 0])
        return accept(drafts, target, proposal)
