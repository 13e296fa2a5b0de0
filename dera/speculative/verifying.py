"""Verifying: the other models read a run of drafts in one pass each, and the drafts are judged."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dera.speculative.batch import Batch
from dera.speculative.draft_cache import DraftCache, Tokens
from dera.speculative.drafting import Draft


@dataclass(frozen=True)
class Verdict:
    """What became of a draft.

    Attributes:
        kept: how many drafts each row keeps, shape (rows,).
        token: the token that follows the kept drafts where not all are kept, shape (rows,).
        overlaps: each part's overlap with the mixture, shape (rows, parts, width).
    """

    kept: Tensor
    token: Tensor
    overlaps: Tensor


def verify(batch: Batch, draft: Draft) -> dict[int, Tensor]:
    """Read a draft with every part but the drafter.

    Returns:
        By the index of each verifier, its logits for the drafts and for the token after them, shape
        (rows, steps + 1, vocabulary).
    """
    drafts = batch.tokens_at(draft.columns[:, :-1])
    any_ahead = batch.ahead.any()
    all_ahead = any_ahead and batch.ahead.all()
    unread = batch.unread
    if any_ahead:
        # A row that is ahead reads its last token a second time, with the same logits. The mask
        # excludes the second copy.
        unread = Tokens(unread.ids, unread.positions, ~batch.ahead.rows[:, None])
    verified = {}
    for part, cache in enumerate(batch.parts.caches):
        if part == draft.drafter:
            continue
        with cache.part.adapted():
            if all_ahead:
                verified[part] = _read_after(batch.ahead.logits[part], cache, drafts)
            else:
                tokens = unread.followed_by(drafts)
                verified[part] = cache.read(tokens, keep=draft.steps + 1)
    return verified


def _read_after(known: Tensor, cache: DraftCache, drafts: Tokens) -> Tensor:
    """Read drafts where every row is ahead, so that the logits for the first draft are known."""
    steps = drafts.ids.shape[1]
    if not steps:
        return known
    return torch.cat([known, cache.read(drafts, keep=steps)], dim=1)


def judge(batch: Batch, draft: Draft, verified: dict[int, Tensor]) -> Verdict:
    """Decide how many drafts each row keeps, and which token follows them.

    Args:
        verified: what `verify` returns.
    """
    parts = len(batch.parts.caches)
    logits = [verified.get(part, draft.logits)[:, : draft.width] for part in range(parts)]
    columns = draft.columns[:, : draft.width]

    # The processors see the mixture and all parts at once: (rows, 1 + parts, width, vocabulary).
    compared = torch.cat([batch.parts.mixed(logits), *logits], dim=1)
    scores = batch.scores(compared, columns.repeat(1, parts + 1)).unflatten(1, (parts + 1, -1))
    predictions = batch.choice.predict(scores)
    overlaps = batch.choice.overlaps(predictions)

    if not draft.steps:
        # The next token comes from the mixture.
        kept = torch.zeros_like(batch.texts.rows)
        return Verdict(kept, batch.choice.choose(scores[:, 0, 0]), overlaps)
    drafts = batch.texts.tokens_at(columns)
    kept, token = batch.choice.accept(drafts, predictions, draft.drafter, batch.ahead.rows)
    return Verdict(kept, token, overlaps)
