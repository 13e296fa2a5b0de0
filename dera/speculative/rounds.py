"""Rounds of speculative decoding: draft, verify, keep what is accepted, take back the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping

from dera.speculative.batch import Batch, ReadAhead, no_row_ahead
from dera.speculative.choosing import Greedy, Sampling
from dera.speculative.draft_cache import Tokens
from dera.speculative.draft_length import Acceptance, draft_length, tokens_a_pass
from dera.speculative.drafting import Draft, draft
from dera.speculative.mixed_parts import MixedParts
from dera.speculative.prepared import Prepared
from dera.speculative.texts import Texts
from dera.speculative.verifying import Verdict, judge, verify
from dera.weights import as_lam


class Rounds:
    """Rows decoded in rounds of drafting and verifying, until all have ended.

    Between rounds no model has read a row's last token, unless the row is ahead (`ReadAhead`).
    The papers draw one more token from the target where all drafts of a row are kept. Here the
    target is the mixture, which needs the drafter's logits too. The next round therefore draws this
    token, once the drafter has read the last draft.

    Args:
        model: the realigned model.
        input_ids: the prompts, shape (batch, width).
        processors, criteria: as `generate` prepares them; `criteria` have a maximum length.
        sampling: draw tokens instead of taking the most probable ones.
        pad: the token that fills shorter rows.
        lam, position_ids, attention_mask: as `generate` hands them to the model's forward. Its
            other arguments for forward are not used.

    Attributes:
        batch: the rows that are still being decoded.
        acceptance: which part drafts, and how often its drafts are accepted.
        rounds: how many rounds there were.
        drafted, accepted: how many tokens were drafted, over all rows, and how many were kept.
    """

    def __init__(
        self,
        model: Any,
        input_ids: Tensor,
        processors: processing.LogitsProcessorList,
        criteria: stopping.StoppingCriteriaList,
        sampling: bool,
        pad: int,
        lam: Tensor | float,
        position_ids: Tensor,
        attention_mask: Tensor | None = None,
        **_: Any,
    ):
        device = input_ids.device
        positions = position_ids.to(device).expand(len(input_ids), -1)
        mask = None if attention_mask is None else attention_mask.to(device)
        weights = as_lam(lam, len(input_ids), device, model.names)
        texts = Texts(input_ids, positions, int(criteria.max_length), pad)  # type: ignore[arg-type]
        self.batch = Batch(
            texts,
            MixedParts(model, weights),
            Prepared(processors, criteria, texts.ids),
            Sampling() if sampling else Greedy(),
            unread=Tokens(input_ids, positions, mask),
            ahead=no_row_ahead(texts.rows),
        )
        self.acceptance = Acceptance(self.batch.parts.shares)
        self.tokens_a_pass = tokens_a_pass(device.type)
        self.rounds = 0
        self.drafted = 0
        self.accepted = 0

    def run(self) -> Tensor:
        """Decode all rows, and return the prompts with their completions, padded at the right."""
        while len(self.batch.texts.rows):
            self._round()
        return self.batch.texts.padded()

    def _round(self) -> None:
        """Draft, verify, keep what is accepted and one token after it, and let finished rows go."""
        # One model writes a run of tokens, the others read it, and the mixture judges.
        drafted = draft(self.batch, self.acceptance.nearest, self._draft_length())
        verified = verify(self.batch, drafted)
        verdict = judge(self.batch, drafted, verified)

        # The texts grow, and the estimated acceptance decides which part drafts next.
        grown, finished = self._write(drafted, verdict)
        changed = self._measure(verdict, grown)
        self._count(drafted, verdict, grown)
        if finished.all():
            self.batch.texts.rows = self.batch.texts.rows[:0]
            return

        # The models forget refused drafts. The verifiers are ahead where all drafts were kept,
        # unless the drafter changes: then all models have forgotten the last draft.
        self._take_back(drafted, verdict, changed)
        ahead = (verdict.kept == drafted.width) & (not changed)
        logits = {part: of_part[:, drafted.steps :] for part, of_part in verified.items()}
        self.batch.ahead = ReadAhead(ahead, logits)

        # The next round begins with the rows that go on, and the last token of each.
        if finished.any():
            self.batch.select((~finished).nonzero()[:, 0])
        self.batch.unread = self.batch.last_tokens()
        self.batch.parts.compact()

    def _draft_length(self) -> int:
        """Return how many tokens to draft: at most as many as the shortest row may still get."""
        texts = self.batch.texts
        cheapest = draft_length(
            self.acceptance.acceptance,
            verifiers=len(self.batch.parts.caches) - 1,
            load=len(texts.rows) / self.tokens_a_pass,
        )
        return min(cheapest, texts.max_length - int(texts.lengths[texts.rows].min()))

    def _write(self, drafted: Draft, verdict: Verdict) -> tuple[Tensor, Tensor]:
        """Write the token after the drafts that are kept, and find where the texts end now.

        Where all drafts are kept the text ends with them, and the token written after them does not
        count.

        Returns:
            How many tokens each row has grown by, and whether it is finished; both (rows,).
        """
        texts = self.batch.texts
        before = texts.lengths[texts.rows]
        after_kept = before + verdict.kept
        texts.write(after_kept, verdict.token)
        length = after_kept + (verdict.kept < drafted.width)
        length, finished = self.batch.prepared.stopped(texts.rows, drafted.columns, length)
        texts.lengths[texts.rows] = length
        return length - before, finished

    def _measure(self, verdict: Verdict, grown: Tensor) -> bool:
        """Add the overlaps to the estimate, in columns that are text or hold the refused draft.

        Returns:
            Whether another part is to draft from now on.
        """
        width = verdict.overlaps.shape[-1]
        compared = torch.minimum(verdict.kept + 1, grown).clamp(max=width)
        counts = torch.arange(width, device=compared.device) < compared[:, None]
        overlaps = (verdict.overlaps * counts[:, None]).sum((0, 2)).tolist()
        return self.acceptance.add(overlaps, int(compared.sum()))

    def _count(self, drafted: Draft, verdict: Verdict, grown: Tensor) -> None:
        """Count the round. In rows that are ahead the first token of the run is no draft."""
        self.rounds += 1
        if drafted.steps:
            no_drafts = self.batch.ahead.rows.long()
            self.drafted += int((drafted.steps - no_drafts).sum())
            self.accepted += int((torch.minimum(verdict.kept, grown) - no_drafts).sum())

    def _take_back(self, drafted: Draft, verdict: Verdict, changed: bool) -> None:
        """Let the caches forget refused drafts. The drafter has not read its last draft anyway.

        Where the drafter changes, all models forget the last draft, which the old drafter has not
        read. All models have then read the same tokens.
        """
        if not drafted.steps:
            return
        kept = verdict.kept.clamp(max=drafted.steps - 1) if changed else verdict.kept
        for part, cache in enumerate(self.batch.parts.caches):
            has_read = drafted.steps - (part == drafted.drafter)
            cache.keep(kept, has_read)
