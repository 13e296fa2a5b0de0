"""Prompts decoded together, one token at a time; rows leave the batch when they have ended."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from dera.chat import ChatTokenizer
from dera.completions import Completions, end_tokens, mask_until_end
from dera.model.conventions import first_position
from dera.model.modules import input_device
from dera.model.padding import positions_of
from dera.model.realigned import RealignedModel
from dera.model.row_selection import select_rows
from dera.prompts import Prompts, as_prompts, check_any, is_conversation, key_of

__all__ = ["Prompts", "Rows", "batch_of"]


class Rows:
    """Prompts and what has been decoded after them.

    Between tokens, rows may leave the batch or be replaced by copies of others. A prompt that
    occurs several times, as in a sweep over lam, is read once.

    Args:
        model: any transformers language model, a `RealignedModel` included.
        tokenizer: its tokenizer, with a padding token.
        prompts: one row each, all as texts, all as token ids or all as conversations.

    Attributes:
        ends: the tokens that end a completion.
        pad: the padding token.
        prompts: what the tokenizer makes of the distinct prompts.
        row_prompts: the index of each row's prompt among the distinct prompts, shape (batch,).
        start: the decoder's first tokens, shape (batch, time): the prompts, or an encoder-decoder's
            start token.
        mask: for each row still in the batch, 1 where it holds a token and 0 where it holds
            padding, shape (rows, time).

    Raises:
        ValueError: if there is no padding token, if there is no end-of-sequence token, or if a
            prompt has no tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, prompts: Prompts):
        if tokenizer.pad_token_id is None:
            raise ValueError(
                "decoding in batches needs a tokenizer with a padding token: set it, for example "
                "tokenizer.pad_token = tokenizer.eos_token"
            )
        self.model = model
        self.first_position = first_position(model)  # looked up once, because it walks the modules
        self.ends = end_tokens(model, tokenizer)
        self.pad = tokenizer.pad_token_id
        self._read_each_prompt_once(tokenizer, as_prompts(prompts))
        self.start = self.prompts.input_ids[self.row_prompts]
        self.mask = self.prompts.attention_mask[self.row_prompts]
        self._encoder_states: Tensor | None = None
        if model.config.is_encoder_decoder:
            self._encode()
        self._unread = self.start
        self._cache: Any = None

    def _read_each_prompt_once(self, tokenizer: Any, prompts: list[Any]) -> None:
        """Make a batch of the distinct prompts, and refuse those without tokens."""
        check_any(prompts)
        keys = [key_of(prompt) for prompt in prompts]
        distinct = dict(zip(keys, prompts, strict=True))
        places = {key: i for i, key in enumerate(distinct)}
        self.prompts = batch_of(self.model, tokenizer, list(distinct.values()))
        row_prompts = [places[key] for key in keys]
        self.row_prompts = torch.tensor(row_prompts, device=input_device(self.model))
        lengths = self.prompts.attention_mask.sum(-1)[self.row_prompts]
        empty = (lengths == 0).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(
                f"prompt {empty[0]} of {len(prompts)} has no tokens, so there is nothing to "
                f"continue: {prompts[empty[0]]!r}. Leave it out"
            )

    def _encode(self) -> None:
        """Let an encoder-decoder's encoder read the prompts, and begin each row with one token."""
        states = self.model.get_encoder()(**self.prompts)[0]
        self._encoder_states = states[self.row_prompts]
        self._encoder_mask = self.mask
        shape = (len(self.row_prompts), 1)
        self.start = torch.full(shape, _decoder_start(self.model), device=input_device(self.model))
        self.mask = torch.ones_like(self.start)

    def forward(self, **arguments: Any) -> Any:
        """Read what is unread, and return the model's output for the next token of every row.

        Args:
            **arguments: passed to the model, for example `lam`.

        Returns:
            The output of the rows still in the batch; its logits have shape (rows, 1, vocabulary).
        """
        first = self._cache is None
        if self._encoder_states is not None:
            output = self._call(**self._encoder_decoder_inputs(), **arguments)
        elif first and len(self.prompts.input_ids) < len(self.mask):
            output = self._read_shared_prompts(**arguments)
        else:
            inputs = self._decoder_inputs(self._unread, self.mask)
            output = self._call(**inputs, **arguments)
        return output

    def _read_shared_prompts(self, **arguments: Any) -> Any:
        """Read each prompt once, and go on with a copy of it for each of its rows."""
        inputs = self._decoder_inputs(self.prompts.input_ids, self.prompts.attention_mask)
        if isinstance(self.model, RealignedModel):
            # This model has a lam for each row, and itself copies what the rows of a prompt share.
            return self._call(**inputs, rows=self.row_prompts, **arguments)
        output = self._call(**inputs, **arguments)
        for name, value in list(output.items()):
            if isinstance(value, Tensor):
                output[name] = value[self.row_prompts]
        select_rows(self._cache, self.row_prompts)
        return output

    def _decoder_inputs(self, ids: Tensor, mask: Tensor) -> dict[str, Any]:
        """Return a decoder's inputs for reading tokens. The mask covers earlier tokens too."""
        positions = positions_of(mask)[:, -ids.shape[1] :] + self.first_position
        return dict(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1)

    def _call(self, **inputs: Any) -> Any:
        output = self.model(**inputs, past_key_values=self._cache, use_cache=True)
        self._cache = output.past_key_values
        return output

    def _encoder_decoder_inputs(self) -> dict[str, Any]:
        return dict(
            decoder_input_ids=self._unread,
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoder_states),
            attention_mask=self._encoder_mask,
        )

    def advance(self, tokens: Tensor, going: Tensor | None = None) -> None:
        """Append a token to rows of the batch, and go on with these rows alone.

        Args:
            tokens: shape (rows that go on,).
            going: the rows that go on, as indices into the present rows, shape (rows that go on,).
                An index may occur more than once. When it is absent, all rows go on.
        """
        if going is not None and not self._are_all_rows(going):
            select_rows(self._cache, going)
            self.mask = self.mask[going]
            if self._encoder_states is not None:
                self._encoder_states = self._encoder_states[going]
                self._encoder_mask = self._encoder_mask[going]
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
        self._unread = tokens[:, None]

    def _are_all_rows(self, going: Tensor) -> bool:
        """Return whether these are all rows in their present order."""
        present = torch.arange(len(self.mask), device=going.device)
        return len(going) == len(present) and torch.equal(going, present)

    def completions(self, drawn: Tensor) -> Completions:
        """Return all rows with what was drawn after them, rows that have left the batch included.

        Args:
            drawn: the tokens, shape (batch, completion). What stands after an end-of-sequence token
                is padding.
        """
        real = mask_until_end(drawn, self.ends)
        input_ids = self.prompts["input_ids"][self.row_prompts]
        attention_mask = self.prompts["attention_mask"][self.row_prompts]
        encodes = self._encoder_states is not None
        start_mask = torch.ones_like(self.start) if encodes else attention_mask
        return Completions(
            input_ids=torch.cat([self.start, drawn], dim=1),
            attention_mask=torch.cat([start_mask, real], dim=1),
            completion_length=drawn.shape[1],
            end_token_ids=self.ends,
            encoder_input_ids=input_ids if encodes else None,
            encoder_attention_mask=attention_mask if encodes else None,
        )


def batch_of(model: Any, tokenizer: Any, prompts: Prompts) -> Any:
    """Return prompts as a padded batch on the model's device.

    Padding stands at the left for a decoder, which goes on at the right, and at the right for an
    encoder, which counts positions from the left.

    Args:
        model: the model, which says on which side padding stands.
        tokenizer: its tokenizer; a `ChatTokenizer` if the prompts are conversations.
        prompts: all as texts, all as token ids or all as conversations.

    Raises:
        TypeError: if the prompts are none of these, or are conversations without a `ChatTokenizer`.
    """
    side = "right" if model.config.is_encoder_decoder else "left"
    prompts = as_prompts(prompts)
    check_any(prompts)
    is_chat = is_conversation(prompts[0])
    if is_chat and not isinstance(tokenizer, ChatTokenizer):
        raise TypeError(
            "the prompts are conversations, which a plain tokenizer does not read: "
            "pass dera.ChatTokenizer(tokenizer)"
        )
    if is_chat or isinstance(prompts[0], str):
        batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side=side)
    else:
        ids = {"input_ids": [list(prompt) for prompt in prompts]}
        batch = tokenizer.pad(ids, return_tensors="pt", padding_side=side)
    return batch.to(input_device(model))


def _decoder_start(model: Any) -> int:
    """Return the token that an encoder-decoder's decoder begins with."""
    for config in (model.generation_config, model.config):
        start = getattr(config, "decoder_start_token_id", None)
        if start is not None:
            return start
    raise ValueError(
        "the encoder-decoder's configuration names no decoder_start_token_id: set it there"
    )
