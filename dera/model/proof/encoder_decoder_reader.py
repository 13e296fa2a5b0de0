"""Reading a text through encoder-decoders: each alone, and all in the mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dera.model.parts import Part
from dera.model.proof.reader import Reader, Readings, call_alone
from dera.model.proof.text import decoder_start_of, plain_tokens

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel


class EncoderDecoderReader(Reader):
    """Reads the text of the proof through encoder-decoders: as a source, and its copy as a target.

    The source is read whole, and with padding on its left in a second row that is two tokens
    shorter. The decoders read a start token and two tokens more in both rows.
    """

    def __init__(self, model: RealignedModel):
        self.model = model
        bases = [part.base for part in model.parts]
        self.text = plain_tokens(bases).to(model.parts[0].base.device)
        start = self.text.new_full((1, 1), decoder_start_of(model))
        self.target = torch.cat([start, self.text[:, 1:3]], 1)
        self.sources = [self.text, self.text[:, : max(1, self.text.shape[1] - 2)]]
        self.by_source = [
            [self._alone(part, source) for source in self.sources] for part in model.parts
        ]
        self.alone = [logits[0] for logits in self.by_source]

    def read(
        self, rows: list[int], with_cache: bool = True, selected: list[int] | None = None
    ) -> Readings:
        """Read targets up to their last token, and then the last token in a cached step."""
        ids, mask = self._padded([self.sources[row][0] for row in rows])
        states = self.model.get_encoder()(ids, mask)
        target = self.target.expand(len(rows), -1)
        end = target.shape[1]
        self.rows = rows
        if not with_cache:
            output = self._decode(states, mask, target)
            return self._pairs([output], [[end] * len(rows)])

        # The first call reads all but the last token, and the second call reads the last token.
        chosen = None if selected is None else torch.tensor(selected, device=ids.device)
        first = self._decode(states, mask, target[:, :-1], use_cache=True, rows=chosen)
        if selected is not None:
            self.rows, mask = [rows[place] for place in selected], mask[chosen]
            states = type(states)(last_hidden_state=states[0][chosen])
        cache = first.past_key_values
        second = self._decode(states, mask, target[:, -1:], use_cache=True, past_key_values=cache)
        return self._pairs([first, second], [[end - 1] * len(rows), [end] * len(rows)])

    def expected(self, index: int, row: int, length: int) -> Tensor:
        logits = self.by_source[index][self.rows[row]]
        return logits[0, length - 1, : self.model.vocabulary_size]

    def _decode(self, states: Any, mask: Tensor, target: Tensor, **inputs: Any) -> Any:
        return self._mixture(
            encoder_outputs=states, attention_mask=mask, decoder_input_ids=target, **inputs
        )

    def _alone(self, part: Part, source: Tensor) -> Tensor:
        """Return what a part says alone of the target for a source without padding."""
        inputs = dict(input_ids=source, decoder_input_ids=self.target, use_cache=False)
        return call_alone(part, lambda: part(**inputs).logits)
