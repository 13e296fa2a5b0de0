"""What is known about the rows that are still being decoded, between two rounds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dera.speculative.choosing import Choice
from dera.speculative.draft_cache import Tokens
from dera.speculative.mixed_parts import MixedParts
from dera.speculative.prepared import Prepared
from dera.speculative.texts import Texts


@dataclass(frozen=True)
class ReadAhead:
    """What the verifiers know about rows whose drafts were all kept, which are ahead.

    The verifiers have read the last token of these rows, and the drafter has not. Once the drafter
    has read it too, the mixture after the last token is known. The next token of these rows is then
    drawn from the mixture itself.

    Attributes:
        rows: whether a row is ahead, shape (rows,).
        logits: by the index of each verifier, its logits after the last token, shape (rows, 1,
            vocabulary). They count only where the row is ahead.
    """

    rows: Tensor
    logits: dict[int, Tensor]

    def select(self, going: Tensor) -> ReadAhead:
        """Return what is known about these rows."""
        logits = {part: of_part[going] for part, of_part in self.logits.items()}
        return ReadAhead(self.rows[going], logits)

    def any(self) -> bool:
        """Return whether any row is ahead."""
        return bool(self.rows.any())

    def all(self) -> bool:
        """Return whether every row is ahead."""
        return bool(self.rows.all())


@dataclass
class Batch:
    """The rows that are still being decoded.

    Attributes:
        texts: what has been written.
        parts: the models, with their caches.
        prepared: the logits processors and stopping criteria.
        choice: how tokens are chosen.
        unread: what no model has read yet: at first the prompts, and then the last token of each
            row. Where a row is ahead, the verifiers have read its last token.
        ahead: the rows whose last token the verifiers have read.
    """

    texts: Texts
    parts: MixedParts
    prepared: Prepared
    choice: Choice
    unread: Tokens
    ahead: ReadAhead

    def tokens_at(self, columns: Tensor) -> Tokens:
        """Return the tokens in columns of shape (rows, time), for a model to read."""
        return Tokens(self.texts.tokens_at(columns), self.texts.positions_at(columns))

    def last_tokens(self) -> Tokens:
        """Return each row's last token, which no model has read unless the row is ahead."""
        return self.tokens_at(self.texts.next_columns(1) - 1)

    def scores(self, logits: Tensor, columns: Tensor) -> Tensor:
        """Return logits after the processors, for tokens to stand in columns of (rows, time)."""
        return self.prepared.processed(self.texts.rows, logits, columns)

    def select(self, going: Tensor) -> None:
        """Go on with these rows alone, shape (rows that go on,)."""
        self.texts.select(going)
        self.parts.select(going)
        self.ahead = self.ahead.select(going)


def no_row_ahead(rows: Tensor) -> ReadAhead:
    """Return what is known before the first round, when no row is ahead."""
    return ReadAhead(torch.zeros_like(rows, dtype=torch.bool), {})
