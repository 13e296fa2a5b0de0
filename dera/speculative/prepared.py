"""Logits processors and stopping criteria that `generate` has prepared, for rows whose texts have different lengths."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping

from dera.speculative.unsupported import OF_LOGITS


class Prepared:
    """What transformers applies to a batch in step, applied to texts that have run ahead of one another.

    Args:
        processors, criteria: as `generate` makes them.
        text: the tokens of all rows, shape (batch, room), which others go on writing.

    Attributes:
        ends: the tokens that end a text, shape (ends,).
    """

    def __init__(
        self,
        processors: processing.LogitsProcessorList,
        criteria: stopping.StoppingCriteriaList,
        text: Tensor,
    ):
        self.processors, self.criteria, self.text = processors, criteria, text
        self.limit = int(criteria.max_length)  # type: ignore[arg-type]  # generate always has one
        eos = [
            each.eos_token_id.to(text.device)
            for each in criteria
            if isinstance(each, stopping.EosTokenCriteria)
        ]
        self.ends = torch.cat(eos) if eos else text.new_empty(0)

    def processed(self, rows: Tensor, logits: Tensor, columns: Tensor) -> Tensor:
        """What the logits processors make of logits, shape (rows, time, vocabulary), for tokens to stand in `columns`, (rows, time)."""
        for processor in self.processors:
            if type(processor) in OF_LOGITS:
                logits = processor(None, logits.flatten(0, 1)).view_as(logits)
                continue
            processed = torch.empty_like(logits)
            for step in range(columns.shape[1]):
                for length in columns[:, step].unique().tolist():
                    # all rows, finished ones too, as some processors know how a row was padded; who is elsewhere does not count
                    here = (columns[:, step] == length).nonzero()[:, 0]
                    scores = logits.new_zeros(len(self.text), logits.shape[-1])
                    scores[rows[here]] = logits[here, step]
                    processed[here, step] = processor(self.text[:, :length], scores)[rows[here]]
            logits = processed
        return logits

    def stopped(self, rows: Tensor, columns: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Where each row ends, of those that have grown to `length`, and which are finished; both of shape (rows,)."""
        finished = length >= self.limit
        length = length.clamp(max=self.limit)
        for criterion in self.criteria:
            if isinstance(criterion, stopping.MaxLengthCriteria):
                continue
            ends = torch.zeros_like(columns, dtype=torch.bool)
            if isinstance(criterion, stopping.EosTokenCriteria):
                ends = torch.isin(self.text[rows[:, None], columns], self.ends)
            else:  # after every token of every row by itself, as in plain decoding
                for i, row in enumerate(rows.tolist()):
                    for step, end in enumerate(range(int(columns[i, 0]) + 1, int(length[i]) + 1)):
                        ends[i, step] = torch.as_tensor(
                            criterion(self.text[row : row + 1, :end], None)
                        ).all()
            ends = ends & (columns < length[:, None])
            ended = ends.any(-1)
            length = torch.where(
                ended, columns.gather(1, ends.long().argmax(1, keepdim=True))[:, 0] + 1, length
            )
            finished = finished | ended
        return length, finished
