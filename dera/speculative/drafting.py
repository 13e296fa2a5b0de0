"""Drafting: one model, the drafter, writes a run of tokens after each row's text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dera.speculative.batch import Batch


@dataclass(frozen=True)
class Draft:
    """A run of tokens drafted after each row's text.

    Attributes:
        drafter: the index of the part that drafted.
        columns: where the drafts stand in the text, and the column after them, (rows, steps + 1).
        logits: the drafter's logits for each draft, shape (rows, steps, vocabulary). Where nothing
            was drafted they are for the next token, shape (rows, 1, vocabulary).
    """

    drafter: int
    columns: Tensor
    logits: Tensor

    @property
    def steps(self) -> int:
        """How many tokens were drafted after each row."""
        return self.columns.shape[1] - 1

    @property
    def width(self) -> int:
        """The number of columns in which the parts are compared with the mixture, at least 1."""
        return self.logits.shape[1]


def draft(batch: Batch, drafter: int, count: int) -> Draft:
    """Draft tokens into the texts: `count` a row, or fewer where all rows have ended before.

    Where `count` is 0 the drafter only reads what is unread, as the verifiers do.
    """
    columns = batch.texts.next_columns(count + 1)
    cache = batch.parts.caches[drafter]
    unread = batch.unread
    logits = []
    ended = torch.zeros_like(batch.ahead.rows)
    with cache.part.adapted():
        if not count:
            return Draft(drafter, columns, cache.read(unread, keep=1))
        for step in range(count):
            # Read the token before, and score the tokens that may follow it.
            column = columns[:, step]
            logits.append(cache.read(unread, keep=1))
            scores = batch.scores(logits[-1], column[:, None])
            if step == 0 and batch.ahead.any():
                scores = _with_mixture(batch, scores, logits[0], column)

            # Choose the next draft, and write it into the text.
            chosen = batch.choice.choose(scores[:, 0])
            batch.texts.write(column, chosen)
            unread = batch.tokens_at(column[:, None])
            ended |= batch.prepared.is_end(chosen)
            if ended.all():
                break
    return Draft(drafter, columns[:, : len(logits) + 1], torch.cat(logits, dim=1))


def _with_mixture(batch: Batch, scores: Tensor, logits: Tensor, column: Tensor) -> Tensor:
    """Replace the drafter's scores by the mixture's in rows that are ahead.

    In these rows every model's logits after the last token are known. The first token of the run
    therefore comes from the mixture itself, and need not be verified.
    """
    parts = range(len(batch.parts.caches))
    mixed = batch.parts.mixed([batch.ahead.logits.get(part, logits) for part in parts])
    of_mixture = batch.scores(mixed, column[:, None])
    return torch.where(batch.ahead.rows[:, None, None], of_mixture, scores)
