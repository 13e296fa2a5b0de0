"""The logits processors and stopping criteria of `generate`, for texts of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping

from dera.speculative.unsupported import OF_LOGITS


class Prepared:
    """What transformers applies to texts of one length, applied to texts of different lengths.

    Args:
        processors, criteria: as `generate` makes them.
        text: the tokens of all rows, shape (batch, columns). `Texts` goes on writing into it.

    Attributes:
        ends: the tokens that end a text, shape (ends,).
    """

    def __init__(
        self,
        processors: processing.LogitsProcessorList,
        criteria: stopping.StoppingCriteriaList,
        text: Tensor,
    ):
        self.processors = processors
        self.criteria = [
            criterion
            for criterion in criteria
            if not isinstance(criterion, stopping.MaxLengthCriteria)
        ]
        self.text = text
        # `generate` always sets a maximum length.
        self.max_length = int(criteria.max_length)  # type: ignore[arg-type]
        ends = [
            criterion.eos_token_id.to(text.device)
            for criterion in criteria
            if isinstance(criterion, stopping.EosTokenCriteria)
        ]
        self.ends = torch.cat(ends) if ends else text.new_empty(0)

    def is_end(self, tokens: Tensor) -> Tensor:
        """Return whether each token ends a text."""
        return torch.isin(tokens, self.ends)

    def processed(self, rows: Tensor, logits: Tensor, columns: Tensor) -> Tensor:
        """Apply the logits processors to logits of tokens to come.

        Args:
            rows: the indices of the rows, shape (rows,).
            logits: shape (rows, time, vocabulary).
            columns: where each token is to stand, shape (rows, time).
        """
        for processor in self.processors:
            if type(processor) in OF_LOGITS:
                logits = processor(None, logits.flatten(0, 1)).view_as(logits)
            else:
                logits = self._processed_by_length(processor, rows, logits, columns)
        return logits

    def _processed_by_length(
        self, processor: processing.LogitsProcessor, rows: Tensor, logits: Tensor, columns: Tensor
    ) -> Tensor:
        """Apply a processor that looks at the text, to texts of one length at a time.

        It gets all rows of the batch, finished ones too, because some processors remember how each
        row was padded. Rows of another length get scores that are thrown away.
        """
        processed = torch.empty_like(logits)
        for step in range(columns.shape[1]):
            for length in columns[:, step].unique().tolist():
                of_length = (columns[:, step] == length).nonzero()[:, 0]
                scores = logits.new_zeros(len(self.text), logits.shape[-1])
                scores[rows[of_length]] = logits[of_length, step]
                all_processed = processor(self.text[:, :length], scores)
                processed[of_length, step] = all_processed[rows[of_length]]
        return processed

    def stopped(self, rows: Tensor, columns: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Find where the rows end, after they have grown.

        Args:
            rows: the indices of the rows, shape (rows,).
            columns: the new columns of each row, shape (rows, time).
            length: the length that each row has grown to, shape (rows,).

        Returns:
            The length of each row's text, cut where it stops, and whether it is finished; both of
            shape (rows,).
        """
        finished = length >= self.max_length
        length = length.clamp(max=self.max_length)
        for criterion in self.criteria:
            if isinstance(criterion, stopping.EosTokenCriteria):
                stops = self.is_end(self.text[rows[:, None], columns])
            else:
                stops = self._stops_at(criterion, rows, columns, length)
            stops = stops & (columns < length[:, None])
            stopped = stops.any(-1)
            first = stops.long().argmax(1, keepdim=True)
            length = torch.where(stopped, columns.gather(1, first)[:, 0] + 1, length)
            finished = finished | stopped
        return length, finished

    def _stops_at(
        self, criterion: stopping.StoppingCriteria, rows: Tensor, columns: Tensor, length: Tensor
    ) -> Tensor:
        """Ask a criterion after every new token of every row by itself, as in plain decoding.

        Returns:
            Whether each row stops after the token in each column, shape (rows, time).
        """
        stops = torch.zeros_like(columns, dtype=torch.bool)
        for i, row in enumerate(rows.tolist()):
            first = int(columns[i, 0])
            for step, column in enumerate(range(first, int(length[i]))):
                text = self.text[row : row + 1, : column + 1]
                stops[i, step] = torch.as_tensor(criterion(text, None)).all()
        return stops
