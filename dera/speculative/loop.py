"""Speculative decoding of the mixture: one of its models drafts, the others verify, and the text is exactly the mixture's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping

from dera.mixing import mix_present
from dera.model.padding import positions_of
from dera.speculative.drafting import (
    LONGEST_DRAFT,
    TOKENS_A_PASS,
    Acceptance,
    DraftCache,
    accept,
    accept_greedily,
    draft_length,
)
from dera.speculative.prepared import Prepared
from dera.speculative.unsupported import serves, serves_prepared, window_of
from dera.weights import as_lam


@dataclass
class Speculation:
    """What a speculative `generate` did; `model.last_speculation`.

    Attributes:
        rounds: of drafting and verifying.
        drafted, accepted: tokens drafted, over all rows, and how many of these the text kept.
        passes: how often each model was called, by name.
    """

    rounds: int
    drafted: int
    accepted: int
    passes: dict[str, int]


def speculate(
    model: Any,
    input_ids: Tensor,
    logits_processor: processing.LogitsProcessorList,
    stopping_criteria: stopping.StoppingCriteriaList,
    generation_config: Any,
    **model_kwargs: Any,
) -> Tensor:
    """transformers' `custom_generate` for a realigned model: the prompts with their completions, shape (batch, time)."""
    if not serves_prepared(model, logits_processor, stopping_criteria, model_kwargs):
        return model._sample(
            input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
        )
    pad = (
        0
        if generation_config._pad_token_tensor is None
        else int(generation_config._pad_token_tensor)
    )
    options = dict(sampling=generation_config.do_sample, pad=pad, **model_kwargs)
    return _Loop(model, input_ids, logits_processor, stopping_criteria, **options).run()


def completions_of(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    weights: Tensor,
    room: int,
    ends: Sequence[int],
    pad: int,
    **options: Any,
) -> Tensor | None:
    """Speculative completions of prompts padded on the left, shape (batch, time), without what `generate` prepares.

    Args:
        weights: of shape (batch, models).
        room: no completion has more tokens.
        ends, pad: the tokens that end a completion, and the one that fills shorter rows.
        **options: `do_sample`, and what else was asked for, which may be what it cannot serve.

    Returns:
        None, after a warning, where it does not serve.
    """
    inputs = dict(
        lam=weights, attention_mask=attention_mask, position_ids=positions_of(attention_mask)
    )
    most, processors = (
        stopping.MaxLengthCriteria(input_ids.shape[1] + room),
        processing.LogitsProcessorList(),
    )
    criteria = stopping.StoppingCriteriaList([most, stopping.EosTokenCriteria(list(ends))])
    if not (
        serves(model, weights, dict(options, num_beams=1))
        and serves_prepared(model, processors, criteria, inputs)
    ):
        return None
    found = _Loop(model, input_ids, processors, criteria, options["do_sample"], pad, **inputs).run()
    return found[:, input_ids.shape[1] :]


class _Loop:
    """Rows decoded in rounds. Between rounds no part has read a row's last token, unless the row is `ahead`.

    Attributes:
        slots: of the parts that have a share; `present` says which these are.
        text: all rows' tokens, with room for drafts, shape (batch, room); `lengths` says how many each has, its padding counted.
        rows: those still being decoded, shape (rows,); `weights`, `start`, `ahead` and `known` have an entry for each of them.
        start: the position that a row's first column would have, counted back from its prompt's last token.
        ahead: whether all drafts of a row were kept: the verifiers have then read its last token.
        known: by verifier, its logits after the last token, which count where the row is ahead; shape (rows, 1, vocabulary).
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
        (batch, width), device = input_ids.shape, input_ids.device
        self.model, self.weights = model, as_lam(lam, batch, device, model.names)
        run = model.parts_with_share(self.weights)
        self.parts, self.present = len(run), [i for i, has in enumerate(run) if has]
        self.slots = [DraftCache(model.parts[i], model.vocabulary_size) for i in self.present]
        self.tokens_a_pass = TOKENS_A_PASS[input_ids.device.type == "cpu"]
        shares = [float((1 - self.weights.sum(-1)).mean()), *self.weights.mean(0).tolist()]
        self.acceptance = Acceptance([shares[i] for i in self.present])
        self.sampling, self.limit, self.pad = sampling, int(criteria.max_length), pad  # type: ignore[arg-type]
        self.text = input_ids.new_full((batch, self.limit + LONGEST_DRAFT + 1), self.pad)
        self.text[:, :width] = input_ids
        self.prepared = Prepared(processors, criteria, self.text)
        self.lengths = input_ids.new_full((batch,), width)
        self.rows = torch.arange(batch, device=device)
        self.mask = None if attention_mask is None else attention_mask.to(device)
        self.positions = position_ids.to(device).expand(batch, -1)
        self.start = self.positions[:, -1] - (width - 1)
        self.ahead, self.any_ahead = torch.zeros_like(self.rows, dtype=torch.bool), False
        self.known: dict[int, Tensor] = {}
        self.room = min(window_of(each.part) for each in self.slots)
        self.rounds = self.drafted = self.accepted = 0

    def run(self) -> Tensor:
        """Decode all rows; the prompts with their completions, padded where others are longer."""
        while len(self.rows):
            self.round()
        passes = {each.part.name: each.passes for each in self.slots}
        self.model.last_speculation = Speculation(self.rounds, self.drafted, self.accepted, passes)
        columns = torch.arange(int(self.lengths.max()), device=self.text.device)
        return self.text[:, : len(columns)].masked_fill(columns >= self.lengths[:, None], self.pad)

    def round(self) -> None:
        """Draft, verify, keep what is accepted and one token after it, and let finished rows go."""
        first, drafter = self.lengths[self.rows], self.acceptance.nearest
        most = min(
            draft_length(
                self.acceptance.acceptance, len(self.slots) - 1, len(self.rows) / self.tokens_a_pass
            ),
            self.limit - int(first.min()),
        )
        columns = first[:, None] + torch.arange(most + 1, device=first.device)
        unread, places = self._unread(columns)
        found, steps = self._draft(self.slots[drafter], columns, unread, places)
        columns, places, width = (
            columns[:, : steps + 1],
            places[:, : unread.shape[1] + steps],
            max(steps, 1),
        )
        verified = self._verify(drafter, columns[:, :steps], unread, places)
        logits = [verified.get(i, found)[:, :width] for i in range(len(self.slots))]
        kept, token, overlaps = self._judge(drafter, logits, columns, steps)
        self.text[self.rows, first + kept] = token
        length, finished = self.prepared.stopped(self.rows, columns, first + kept + (kept < width))
        self.lengths[self.rows] = length
        compared = torch.minimum(kept + 1, length - first).clamp(max=width)
        positions = torch.arange(width, device=first.device) < compared[:, None]
        changed = self.acceptance.add(
            (overlaps * positions[:, None]).sum((0, 2)).tolist(), int(compared.sum())
        )
        self.rounds += 1
        if steps:
            self.drafted += int((steps - self.ahead.long()).sum())
            self.accepted += int((torch.minimum(kept, length - first) - self.ahead.long()).sum())
        if finished.all():
            self.rows = self.rows[:0]
            return
        self.ahead = (kept == width) & (
            not changed
        )  # a verifier that is to draft forgets what the next verifier has not read
        for i, each in enumerate(self.slots if steps else []):
            each.keep(kept.clamp(max=steps - 1) if changed else kept, steps - (i == drafter))
        self.known = {i: each[:, steps:] for i, each in verified.items()}
        if finished.any():
            self._go_on_with((~finished).nonzero()[:, 0])
        self.any_ahead = bool(self.ahead.any())
        for each in self.slots:
            each.compact(self.room)

    def _unread(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """What the drafter is yet to read, and the positions of that and of the drafts: at first the prompts, then one token."""
        places = (
            columns.clamp(max=self.limit) - 1 + self.start[:, None]
        )  # drafts may go beyond where a row must end
        if self.rounds:
            return self.text[self.rows[:, None], columns[:, :1] - 1], places
        return self.text[:, : int(columns[0, 0])], torch.cat(
            [self.positions[:, :-1], places], dim=1
        )

    def _draft(
        self, drafter: DraftCache, columns: Tensor, unread: Tensor, places: Tensor
    ) -> tuple[Tensor, int]:
        """Draft into `text`, one token less than there are columns, until every row has ended; the drafter's logits, and how many drafts.

        Where there are to be no drafts the drafter reads what is unread, as the others do, and the logits are for the next token.
        """
        width, found, most = unread.shape[1], [], columns.shape[1] - 1
        ids, at, real = unread, places[:, :width], None if self.rounds else self.mask
        ended = torch.zeros_like(self.ahead)
        with drafter.part.adapted():
            if not most:
                return drafter.read(ids, at, real, keep=1), 0
            for step in range(most):
                found.append(drafter.read(ids, at, real, keep=1))
                scores = self.prepared.processed(self.rows, found[-1], columns[:, step, None])
                if (
                    step == 0 and self.any_ahead
                ):  # all logits after the last token are known: this one comes from the mixture
                    mixed = self._mixed(
                        [self.known.get(i, found[0]) for i in range(len(self.slots))]
                    )
                    scores = torch.where(
                        self.ahead[:, None, None],
                        self.prepared.processed(self.rows, mixed, columns[:, :1]),
                        scores,
                    )
                ids = self._chosen(scores[:, 0])
                self.text[self.rows, columns[:, step]] = ids[:, 0]
                at, real = places[:, width + step, None], None
                ended |= torch.isin(ids[:, 0], self.prepared.ends)
                if ended.all():
                    break
        return torch.cat(found, dim=1), len(found)

    def _verify(
        self, drafter: int, columns: Tensor, unread: Tensor, places: Tensor
    ) -> dict[int, Tensor]:
        """The logits of each verifier for the columns of the drafts and for the next."""
        drafts = self.text[self.rows[:, None], columns]
        everywhere = self.any_ahead and bool(self.ahead.all())
        real = (
            ~self.ahead[:, None] if self.any_ahead else None if self.rounds else self.mask
        )  # as far as what is unread goes
        real = None if real is None else torch.cat([real, real.new_ones(drafts.shape)], dim=1)
        found = {}
        for i, each in enumerate(self.slots):
            if i == drafter:
                continue
            with each.part.adapted():
                if everywhere and not drafts.shape[1]:
                    found[i] = self.known[i]
                elif everywhere:
                    read = each.read(drafts, places[:, 1:], None, keep=drafts.shape[1])
                    found[i] = torch.cat([self.known[i], read], dim=1)
                else:  # a row that is ahead reads its last token again, to the same end, in a slot that does not count
                    found[i] = each.read(
                        torch.cat([unread, drafts], dim=1), places, real, keep=drafts.shape[1] + 1
                    )
        return found

    def _judge(
        self, drafter: int, logits: list[Tensor], columns: Tensor, steps: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How many of the drafts each row keeps, the token after them, and how the parts overlap with the mixture, (rows, parts, columns)."""
        columns = columns[:, : logits[0].shape[1]]
        every = torch.cat([self._mixed(logits), *logits], dim=1)
        scores = self.prepared.processed(
            self.rows, every, columns.repeat(1, len(logits) + 1)
        ).unflatten(1, (len(logits) + 1, -1))
        if not self.sampling:
            best = scores.argmax(-1)
            overlaps = (best[:, 1:] == best[:, :1]).float()
        else:
            chances = scores.softmax(-1)
            overlaps = torch.minimum(chances[:, :1], chances[:, 1:]).sum(-1)
        if not steps:
            return torch.zeros_like(self.rows), self._chosen(scores[:, 0, 0])[:, 0], overlaps
        drafts = self.text[self.rows[:, None], columns]
        if not self.sampling:
            target = best[:, 0]
            target[:, 0] = torch.where(
                self.ahead, drafts[:, 0], target[:, 0]
            )  # which was the mixture's already
            return *accept_greedily(drafts, target), overlaps
        target, proposal = chances[:, 0], chances[:, 1 + drafter].clone()
        proposal[:, 0] = torch.where(
            self.ahead[:, None], target[:, 0], proposal[:, 0]
        )  # it was drawn from the mixture
        return *accept(drafts, target, proposal), overlaps

    def _mixed(self, logits: list[Tensor]) -> Tensor:
        """The mixture of the parts present."""
        found: list[Tensor | None] = [None] * self.parts
        for i, each in zip(self.present, logits, strict=True):
            found[i] = each
        return mix_present(found, self.weights)

    def _chosen(self, scores: Tensor) -> Tensor:
        """One token a row, shape (rows, 1)."""
        return (
            torch.multinomial(scores.softmax(-1), 1)
            if self.sampling
            else scores.argmax(-1, keepdim=True)
        )

    def _go_on_with(self, going: Tensor) -> None:
        """Only these of the rows stay in the batch."""
        self.rows, self.weights, self.start, self.ahead = (
            each[going] for each in (self.rows, self.weights, self.start, self.ahead)
        )
        self.known = {i: each[going] for i, each in self.known.items()}
        for each in self.slots:
            each.select(going)
