"""Sampling completions of many prompts from any transformers model, with the masks that scoring needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from dera.model.padding import positions_of
from dera.model.realigned import RealignedModel
from dera.speculative.loop import completions_of
from dera.weights import Lam, as_lam


@dataclass(frozen=True)
class Completions:
    """Sampled rows: prompts padded on the left, completions padded on the right.

    Attributes:
        input_ids: shape (batch, prompt + completion); of an encoder-decoder's decoder, whose prompt is its start token.
        attention_mask: 1 for the prompt and for the completion up to and including its end-of-sequence token.
        completion_length: how many of the last columns hold completions.
        end_token_ids: the tokens that end a completion, of which chat models have several.
        encoder_input_ids, encoder_attention_mask: what an encoder-decoder's encoder reads, shape (batch, prompt).
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_length: int
    end_token_ids: tuple[int, ...]
    encoder_input_ids: Tensor | None = None
    encoder_attention_mask: Tensor | None = None

    def token_ids(self) -> list[list[int]]:
        """Each row's completion without padding and without the end-of-sequence token."""
        ids, real, ends = self._columns()
        return [row[keep].tolist() for row, keep in zip(ids, real & ~ends, strict=True)]

    def finished(self) -> list[bool]:
        """Whether each row ended with an end-of-sequence token rather than for lack of room."""
        _, real, ends = self._columns()
        return (real & ends).any(-1).tolist()

    def lengths(self) -> list[int]:
        """Tokens of each row's completion, its end-of-sequence token counted."""
        return self._columns()[1].sum(-1).tolist()

    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """The completions' ids, which of them are not padding, and which are end-of-sequence tokens."""
        ids, mask = (
            self.input_ids[:, -self.completion_length :],
            self.attention_mask[:, -self.completion_length :],
        )
        return ids, mask.bool(), is_end(ids, self.end_token_ids)


def end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a completion, by the tokenizer or by the model's generation settings, ascending.

    Raises:
        ValueError: if there is none.
    """
    own = model.generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(own if isinstance(own, (list, tuple)) else [own])} - {None}
    if not found:
        raise ValueError(
            "neither the tokenizer nor the model's generation settings name an end-of-sequence token: set one"
        )
    return tuple(sorted(found))


def is_end(ids: Tensor, end_token_ids: tuple[int, ...]) -> Tensor:
    """Whether each token is one that ends a completion."""
    return torch.isin(ids, torch.tensor(end_token_ids, device=ids.device))


def batch_of(model: Any, tokenizer: Any, prompts: Sequence[str]) -> Any:
    """Prompts as a padded batch on the model's device: decoders go on at the right, and encoders count from the left."""
    side = "right" if model.config.is_encoder_decoder else "left"
    return tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side=side).to(
        model.device
    )


class Rows:
    """Prompts decoded in step; rows may leave the batch, or be replaced by copies of others, between tokens.

    A prompt that occurs several times, as in a sweep over lam, is read once.

    Attributes:
        prompts: what the tokenizer made of the prompts, each of them once.
        row_prompts: which of these is each row's, shape (batch,).
        start: the decoder's first tokens, shape (batch, time): the prompts, or an encoder-decoder's start token.
    """

    def __init__(self, model: Any, tokenizer: Any, prompts: Sequence[str]):
        if tokenizer.pad_token_id is None:
            raise ValueError(
                "decoding in batches needs a tokenizer with a padding token: set it, for example pad_token = eos_token"
            )
        self.model, self.ends, self.pad = (
            model,
            end_tokens(model, tokenizer),
            tokenizer.pad_token_id,
        )
        places = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        self.prompts = batch_of(model, tokenizer, list(places))
        self.row_prompts = torch.tensor([places[prompt] for prompt in prompts], device=model.device)
        empty = (
            (self.prompts.attention_mask.sum(-1)[self.row_prompts] == 0).nonzero()[:, 0].tolist()
        )
        if empty:
            raise ValueError(
                f"prompt {empty[0]} of {len(prompts)} has no tokens, so there is nothing to continue: {prompts[empty[0]]!r}"
            )
        self.start, self._mask = (
            each[self.row_prompts] for each in (self.prompts.input_ids, self.prompts.attention_mask)
        )
        self._states: Tensor | None = None
        if model.config.is_encoder_decoder:
            self._states = model.get_encoder()(**self.prompts)[0][self.row_prompts]
            self._prompt_mask = self._mask
            self.start = torch.full((len(prompts), 1), _decoder_start(model), device=model.device)
            self._mask = torch.ones_like(self.start)
        self._tokens = self.start
        self._cache: Any = None

    def forward(self, **arguments: Any) -> Any:
        """The model's output for the next token of every row still in the batch; logits of shape (rows, 1, vocabulary)."""
        once = (
            self._cache is None
            and self._states is None
            and len(self.prompts.input_ids) < len(self._mask)
        )
        if self._states is None:
            ids, mask = (
                (self.prompts.input_ids, self.prompts.attention_mask)
                if once
                else (self._tokens, self._mask)
            )
            positions = positions_of(mask)[:, -ids.shape[1] :]
            inputs: dict[str, Any] = dict(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1
            )
        else:
            states = BaseModelOutput(last_hidden_state=self._states)
            inputs = dict(
                decoder_input_ids=self._tokens,
                encoder_outputs=states,
                attention_mask=self._prompt_mask,
            )
        mixes = isinstance(
            self.model, RealignedModel
        )  # and has a lam for each row, also of rows that share a prompt
        if once and mixes:
            inputs["rows"] = self.row_prompts
        output = self.model(**inputs, past_key_values=self._cache, use_cache=True, **arguments)
        self._cache = output.past_key_values
        if once and not mixes:
            for name, value in list(output.items()):
                if isinstance(value, Tensor):
                    output[name] = value[self.row_prompts]
            self._cache.batch_select_indices(self.row_prompts)
        return output

    def advance(self, tokens: Tensor, going: Tensor) -> None:
        """Append a token to rows of the batch and go on with these alone.

        Args:
            tokens: shape (rows going on,).
            going: index of each row that goes on among the present ones; an index may occur more than once.
        """
        if len(going) != len(self._mask) or not torch.equal(
            going, torch.arange(len(self._mask), device=going.device)
        ):
            self._cache.batch_select_indices(going)
            self._mask = self._mask[going]
            if self._states is not None:
                self._states, self._prompt_mask = self._states[going], self._prompt_mask[going]
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        self._tokens = tokens[:, None]

    def speculate(self, max_new_tokens: int, lam: Lam | None, **options: Any) -> Completions | None:
        """All completions at once, by speculative decoding; None, after a warning, where it does not serve."""
        wanted: Any = self.model.strength(lam, None)
        if not callable(wanted):
            wanted = as_lam(wanted, len(self.start), self.model.device, self.model.names)
        self.model.last_speculation = None
        drawn = completions_of(
            self.model,
            self.start,
            self._mask,
            wanted,
            max_new_tokens,
            self.ends,
            self.pad,
            **options,
        )
        return None if drawn is None else self.completions(drawn)

    def completions(self, drawn: Tensor) -> Completions:
        """What was drawn, shape (batch, completion), anything after an end-of-sequence token being padding."""
        ends = is_end(drawn, self.ends).long()
        real = (ends.cumsum(-1) - ends == 0).long()  # up to and including the first end of sequence
        seq2seq = self._states is not None
        prompts = {name: each[self.row_prompts] for name, each in self.prompts.items()}
        mask = torch.ones_like(self.start) if seq2seq else prompts["attention_mask"]
        return Completions(
            input_ids=torch.cat([self.start, drawn], dim=1),
            attention_mask=torch.cat([mask, real], dim=1),
            completion_length=drawn.shape[1],
            end_token_ids=self.ends,
            encoder_input_ids=prompts["input_ids"] if seq2seq else None,
            encoder_attention_mask=prompts["attention_mask"] if seq2seq else None,
        )


@torch.no_grad()
def sample_completions(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    lam: Lam | None = None,
    greedy: bool = False,
    on_step: Callable[[Tensor, Any, Tensor], None] | None = None,
    generator: torch.Generator | None = None,
    speculative: bool = False,
) -> Completions:
    """Sample one completion a prompt from the model's own distribution (temperature 1, nothing cut off).

    The same distribution as `generate` gives, but rows that have ended leave the batch, so a batch costs what its completions
    are long and not what its longest is.

    Args:
        model: any transformers language model, a `RealignedModel` included.
        tokenizer: its tokenizer, with a padding token.
        prompts: one row each; repeat a prompt for several samples.
        max_new_tokens: a completion that has not ended by then is cut there.
        lam: for a `RealignedModel`: mixing weight, any `dera.weights.Lam`; its own when absent.
        greedy: take the most probable token instead of sampling.
        on_step: called after each token with the rows still being decoded, shape (n,), the model's output for them (a
            `RealignedModel`'s with its parts) and the tokens chosen, shape (n,).
        generator: source of randomness; torch's own when absent.
        speculative: for a `RealignedModel`: as for its `generate`. It does not serve `on_step` and a `generator`.

    Raises:
        ValueError: if `lam` is bad, or there is no end-of-sequence or no padding token.
    """
    check_max_new_tokens(max_new_tokens)
    state = Rows(model, tokenizer, prompts)
    if speculative and isinstance(model, RealignedModel):
        done = state.speculate(
            max_new_tokens, lam, do_sample=not greedy, on_step=on_step, generator=generator
        )
        if done is not None:
            return done
    drawn = torch.full((len(prompts), max_new_tokens), state.pad, device=model.device)
    rows = torch.arange(len(prompts), device=model.device)  # those still being decoded
    arguments: dict[str, Any] = {} if lam is None else {"output_parts": on_step is not None}
    if callable(lam):
        arguments.update(lam=lam, completion_start=state.start.shape[1])
    weights = (
        None
        if lam is None or callable(lam)
        else as_lam(lam, len(prompts), model.device, model.names)
    )
    for step in range(max_new_tokens):
        if weights is not None:
            arguments["lam"] = weights[rows]
        output = state.forward(**arguments)
        logits = output.logits[:, -1].float()
        chosen = logits.argmax(-1) if greedy else draw(logits, generator)
        drawn[rows, step] = chosen
        if on_step is not None:
            on_step(rows, output, chosen)
        going = (~is_end(chosen, state.ends)).nonzero()[:, 0]
        if not len(going):
            break
        rows = rows[going]
        state.advance(chosen[going], going)
    return state.completions(drawn[:, : step + 1])


def draw(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One token a row from the softmax of logits of shape (rows, vocabulary)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def check_max_new_tokens(max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")


def _decoder_start(model: Any) -> int:
    for config in (model.generation_config, model.config):
        if getattr(config, "decoder_start_token_id", None) is not None:
            return config.decoder_start_token_id
    raise ValueError("the encoder-decoder's configuration names no decoder_start_token_id")
