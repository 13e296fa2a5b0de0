"""Reading a text through decoder-only parts: each alone, and all in the mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dera.model.parts import Part
from dera.model.proof.kinds import kind_of
from dera.model.proof.text import plain_tokens
from dera.one_pass.conditions import caches_keys_and_values

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel

#: For each part by its index: what the mixture said, and what the part says alone.
Readings = dict[int, list[tuple[Tensor, Tensor]]]

#: The text itself, and its beginning with padding on the left.
_LONG, _SHORT = 0, 1


class Reader:
    """Reads the text of the proof through decoder-only parts."""

    def __init__(self, model: RealignedModel):
        self.model = model
        bases = [part.base for part in model.parts]
        self.text = plain_tokens(bases).to(model.parts[0].base.device)
        self.alone = [call_alone(part, partial(self._read_alone, part)) for part in model.parts]

    def _read_alone(self, part: Part) -> Tensor:
        """Return what a part says of the text by itself, without a cache."""
        return part(input_ids=self.text, use_cache=False).logits

    def stages(self) -> list[tuple[str, str, Callable[[], Readings]]]:
        """Return what can be read one thing at a time: the fault, a remedy, and the reading."""
        stages = [
            (
                "a part says something else in the mixture than alone",
                "Models of this kind cannot be mixed, so choose another",
                lambda: self.read(rows=[_LONG], with_cache=False),
            ),
            (
                "a cached step differs from the same step without a cache",
                "Decode rows of one length with use_cache=False after check=False, or align with "
                "an adapter that works on each token by itself, such as LoRA",
                lambda: self.read(rows=[_LONG]),
            ),
            (
                "a row with padding on its left differs from the row alone",
                "Read rows of one length only, after check=False",
                lambda: self.read(rows=[_LONG, _SHORT]),
            ),
            (
                "a row that was selected from a batch differs from the row alone",
                "Decode without beams and with rows of one length only, after check=False",
                lambda: self.read(rows=[_LONG, _SHORT], selected=[_SHORT, _LONG]),
            ),
        ]
        return stages if self.selects_rows else stages[:2]

    @property
    def selects_rows(self) -> bool:
        """Whether rows are selected and padded: not where a layer keeps more than keys and values.

        A text of a model with a window of a few tokens is too short for it, too.
        """
        return self.text.shape[1] >= 4 and all(map(caches_keys_and_values, self.model.parts))

    def all_at_once(self) -> Readings:
        """Read all that the mixture must do, in as few calls as possible."""
        if not self.selects_rows:
            return self.read(rows=[_LONG])
        return self.read(rows=[_LONG, _SHORT], selected=[_SHORT, _LONG])

    def read(
        self, rows: list[int], with_cache: bool = True, selected: list[int] | None = None
    ) -> Readings:
        """Read rows up to their last token, and then the last token in a cached step.

        Args:
            rows: which rows to read: the text itself, and its beginning with padding on the left.
            with_cache: whether the last token is read in a step of its own.
            selected: the places of the rows that are gone on with after the first call.
        """
        lengths = {_LONG: self.text.shape[1], _SHORT: self.text.shape[1] - 2}
        if not with_cache:
            output = self._mixture(input_ids=self.text, attention_mask=torch.ones_like(self.text))
            return self._pairs([output], [list(lengths.values())[:1]])

        # The first call reads all but the last token of each row.
        beginnings = [self.text[0, : lengths[row] - 1] for row in rows]
        ids, mask = self._padded(beginnings)
        chosen = None if selected is None else torch.tensor(selected, device=ids.device)
        first = self._mixture(input_ids=ids, attention_mask=mask, use_cache=True, rows=chosen)

        # The second call reads the last token of each row that is gone on with.
        if selected is not None:
            rows, mask = [rows[place] for place in selected], mask[chosen]
        ends = [lengths[row] for row in rows]
        last = torch.stack([self.text[0, end - 1 : end] for end in ends])
        mask = torch.cat([mask, torch.ones_like(last)], 1)
        cache = first.past_key_values
        second = self._mixture(
            input_ids=last, attention_mask=mask, use_cache=True, past_key_values=cache
        )
        return self._pairs([first, second], [[end - 1 for end in ends], ends])

    def _padded(self, rows: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return rows with padding on the left, and their mask."""
        config = self.model.config.get_text_config(decoder=True)
        padding = getattr(config, "pad_token_id", None)  # some configurations have no such name
        if not isinstance(padding, int) or not 0 <= padding < self.model.vocabulary_size:
            padding = int(self.text[0, 0])
        longest = max(map(len, rows))
        ids = self.text.new_full((len(rows), longest), padding)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, longest - len(row) :] = row
            mask[index, longest - len(row) :] = 1
        return ids, mask

    def _mixture(self, **inputs: Any) -> Any:
        """Call the mixture with a share for every part."""
        share = dict.fromkeys(self.model.names, 0.5)
        return self.model(**inputs, lam=share, output_parts=True)

    def _pairs(self, outputs: list[Any], lengths: list[list[int]]) -> Readings:
        """Return, for each output and row, what each part says last and what it says alone."""
        readings: Readings = {index: [] for index in range(len(self.model.parts))}
        for output, row_lengths in zip(outputs, lengths, strict=True):
            for index, logits in enumerate(_logits_of_parts(output)):
                for row, length in enumerate(row_lengths):
                    expected = self.expected(index, row, length)
                    readings[index].append((logits[row, -1], expected))
        return readings

    def expected(self, index: int, row: int, length: int) -> Tensor:
        """Return what a part says alone after so many tokens, of the tokens that all know."""
        return self.alone[index][0, length - 1, : self.model.vocabulary_size]


def call_alone(part: Part, read: Callable[[], Tensor]) -> Tensor:
    """Return what a part says alone, and name the part if it fails."""
    try:
        return read()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{described(part)} cannot read a few tokens by itself ({type(error).__name__}: "
            f"{error}): mix models that need nothing but tokens"
        ) from error


def described(part: Part) -> str:
    """Return what messages call a part: its name, and the kind of its adapter or model."""
    configs = getattr(part.module, "peft_config", None)
    if configs and part.adapter in configs:
        return f"the adapter {part.name!r} ({kind_of(configs[part.adapter])})"
    return f"the model {part.name!r} ({type(part.base).__name__})"


def _logits_of_parts(output: Any) -> list[Tensor]:
    """Return the logits of the reference, then of the aligned models."""
    aligned = output.aligned_logits
    return [output.reference_logits, *(aligned if isinstance(aligned, tuple) else [aligned])]
