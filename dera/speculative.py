"""Speculative decoding of the mixture: one of its models drafts, the others verify, and the text is exactly the mixture's."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping
from transformers.generation.configuration_utils import GenerationMode

from dera.drafting import LONGEST_DRAFT, Nearness, Slots, accept, accept_greedily, draft_length
from dera.mixing import mix_present
from dera.parts import Part
from dera.weights import as_lam

#: Arguments of `generate` with which the plain loop is taken: some never reach a loop of one's own, some change what models read.
_PLAIN_ONLY = [
    *("assistant_model", "assistant_tokenizer", "custom_generate", "inputs_embeds", "negative_prompt_ids", "past_key_values"),
    *("position_ids", "prefix_allowed_tokens_fn", "streamer", "synced_gpus", "token_type_ids", "tokenizer"),
]

#: Logits processors that look at the logits alone, so that all positions may be processed at once.
_OF_LOGITS = {
    *(processing.TemperatureLogitsWarper, processing.TopKLogitsWarper, processing.TopPLogitsWarper, processing.MinPLogitsWarper),
    *(processing.TypicalLogitsWarper, processing.EpsilonLogitsWarper, processing.EtaLogitsWarper),
    *(processing.InfNanRemoveLogitsProcessor, processing.LogitNormalization, processing.SuppressTokensLogitsProcessor),
}

#: Those that look at the text too, and at nothing else: any other may remember what it was called with, which drafts would spoil.
_OF_TEXT = {
    *(processing.MinLengthLogitsProcessor, processing.MinNewTokensLengthLogitsProcessor),
    *(processing.ExponentialDecayLengthPenalty, processing.SuppressTokensAtBeginLogitsProcessor),
    *(processing.RepetitionPenaltyLogitsProcessor, processing.EncoderRepetitionPenaltyLogitsProcessor),
    *(processing.NoRepeatNGramLogitsProcessor, processing.EncoderNoRepeatNGramLogitsProcessor),
    *(processing.SequenceBiasLogitsProcessor, processing.NoBadWordsLogitsProcessor),
    *(processing.ForcedBOSTokenLogitsProcessor, processing.ForcedEOSTokenLogitsProcessor),
}


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


def as_keywords(args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `generate` by name."""
    names = list(inspect.signature(GenerationMixin.generate).parameters)[1:]
    return dict(zip(names, args, strict=False)) | kwargs


def serves(model: Any, lam: Any, arguments: dict[str, Any]) -> bool:
    """Whether `speculate` decodes this call of `generate`; warns where it cannot. A mixture of one model has nothing to verify."""
    reason = _obstacle(model, lam, arguments)
    if reason is not None:
        _warn(reason)
        return False
    return sum(model.parts_with_share(lam if isinstance(lam, Tensor) else as_lam(lam, 1, names=model.names))) > 1


def speculate(
    model: Any,
    input_ids: Tensor,
    logits_processor: processing.LogitsProcessorList,
    stopping_criteria: stopping.StoppingCriteriaList,
    generation_config: Any,
    **model_kwargs: Any,
) -> Tensor:
    """transformers' `custom_generate` for a realigned model: the prompts with their completions, shape (batch, time)."""
    reason = _obstacle_prepared(model, logits_processor, stopping_criteria)
    if reason is not None:
        _warn(reason)
        return model._sample(input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs)
    loop = _Loop(model, input_ids, logits_processor, stopping_criteria, generation_config, model_kwargs)
    while len(loop.rows):
        loop.round()
    model.last_speculation = loop.done
    return loop.result()


class _Loop:
    """Rows decoded in rounds. Between rounds no part has read a row's last token, unless the row is `ahead`.

    Attributes:
        slots: of the parts that have a share; `present` says which these are.
        text: all rows' tokens, with room for drafts, shape (batch, room); `lengths` says how many each has, its padding counted.
        rows: those still being decoded, shape (rows,); `weights`, `padding`, `ahead` and `known` have an entry for each of them.
        ahead: whether all drafts of a row were kept: the verifiers have then read its last token.
        known: by verifier, its logits after the last token, which count where the row is ahead; shape (rows, 1, vocabulary).
    """

    def __init__(self, model: Any, input_ids: Tensor, processors: Any, criteria: Any, config: Any, kwargs: dict[str, Any]):
        (batch, width), device = input_ids.shape, input_ids.device
        self.weights = as_lam(kwargs["lam"], batch, device, model.names)
        run = model.parts_with_share(self.weights)
        self.parts, self.present = len(run), [i for i, has in enumerate(run) if has]
        self.slots = [Slots(model.parts[i], model.config.get_text_config().vocab_size) for i in self.present]
        shares = [float((1 - self.weights.sum(-1)).mean()), *self.weights.mean(0).tolist()]
        self.nearness = Nearness([shares[i] for i in self.present])
        self.processors, self.criteria, self.sampling = processors, criteria, config.do_sample
        self.limit = criteria.max_length
        self.pad = 0 if config._pad_token_tensor is None else int(config._pad_token_tensor)
        self.text = input_ids.new_full((batch, self.limit + LONGEST_DRAFT + 1), self.pad)
        self.text[:, :width] = input_ids
        self.lengths = input_ids.new_full((batch,), width)
        self.rows = torch.arange(batch, device=device)
        mask = kwargs.get("attention_mask")
        self.mask = None if mask is None else mask.to(device)
        self.padding = torch.zeros_like(self.rows) if self.mask is None else width - self.mask.sum(-1)
        self.ahead, self.any_ahead = torch.zeros_like(self.rows, dtype=torch.bool), False
        self.known: dict[int, Tensor] = {}
        self.room = min(window_of(each.part) for each in self.slots)
        self.rounds = self.drafted = self.accepted = 0

    @property
    def done(self) -> Speculation:
        return Speculation(self.rounds, self.drafted, self.accepted, {each.part.name: each.passes for each in self.slots})

    def result(self) -> Tensor:
        """The rows, padded where others are longer."""
        columns = torch.arange(int(self.lengths.max()), device=self.text.device)
        return self.text[:, : len(columns)].masked_fill(columns >= self.lengths[:, None], self.pad)

    def round(self) -> None:
        """Draft, verify, keep what is accepted and one token after it, and let finished rows go."""
        first, drafter = self.lengths[self.rows], self.nearness.nearest
        steps = min(draft_length(self.nearness.acceptance, len(self.slots) - 1), self.limit - int(first.min()))
        columns = first[:, None] + torch.arange(steps + 1, device=first.device)
        unread, places = self._unread(columns)
        logits = self._read(drafter, columns, unread, places)
        kept, token, overlaps = self._judge(drafter, [each[:, :steps] for each in logits], columns[:, :-1])
        self.text[self.rows, first + kept] = token
        length, finished = self._stopped(columns, first + kept + (kept < steps))
        self.lengths[self.rows] = length
        compared = torch.minimum(kept + 1, length - first).clamp(max=steps)
        positions = torch.arange(steps, device=first.device) < compared[:, None]
        changed = self.nearness.add((overlaps * positions[:, None]).sum((0, 2)).tolist(), int(compared.sum()))
        self.rounds += 1
        self.drafted += int((steps - self.ahead.long()).sum())
        self.accepted += int((torch.minimum(kept, length - first) - self.ahead.long()).sum())
        if finished.all():
            self.rows = self.rows[:0]
            return
        self.ahead = (kept == steps) & (not changed)  # a verifier that is to draft forgets what the next verifier has not read
        for i, each in enumerate(self.slots):
            each.keep(kept.clamp(max=steps - 1) if changed else kept, steps - (i == drafter))
        self.known = {i: each[:, steps:] for i, each in enumerate(logits) if i != drafter}
        if finished.any():
            self._go_on_with((~finished).nonzero()[:, 0])
        self.any_ahead = bool(self.ahead.any())
        for each in self.slots:
            each.compact(self.room)

    def _unread(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """What the drafter is yet to read, and the positions of that and of the drafts: at first the prompts, then one token."""
        places = columns - 1 - self.padding[:, None]
        if self.rounds:
            unread = self.text[self.rows[:, None], columns[:, :1] - 1]
        else:
            unread = self.text[:, : int(columns[0, 0])]
            places = torch.cat([torch.arange(unread.shape[1] - 1, device=places.device) - self.padding[:, None], places], dim=1)
        return unread, places.clamp(0, self.limit - 1)  # padding has none, and drafts may go beyond where a row must end

    def _read(self, drafter: int, columns: Tensor, unread: Tensor, places: Tensor) -> list[Tensor]:
        """Draft into `text`, then verify; the logits of each part for every column (the drafter's but for the last)."""
        width, steps = unread.shape[1], columns.shape[1] - 1
        logits: list[Any] = [None] * len(self.slots)
        prompt = None if self.rounds else self.mask
        ids, found = unread, []
        with self.slots[drafter].part.adapted():
            for step in range(steps):
                at = places[:, :width] if step == 0 else places[:, width + step - 1, None]
                found.append(self.slots[drafter].read(ids, at, prompt if step == 0 else None, keep=1))
                scores = self._processed(found[-1], columns[:, step, None])
                if step == 0 and self.any_ahead:  # all logits after the last token are known: this one comes from the mixture
                    mixed = self._mixed([found[0] if i == drafter else self.known[i] for i in range(len(logits))])
                    scores = torch.where(self.ahead[:, None, None], self._processed(mixed, columns[:, :1]), scores)
                ids = self._chosen(scores[:, 0])
                self.text[self.rows, columns[:, step]] = ids[:, 0]
        logits[drafter] = torch.cat(found, dim=1)
        drafts = self.text[self.rows[:, None], columns[:, :-1]]
        real = prompt if self.rounds == 0 else (~self.ahead[:, None] if self.any_ahead else None)
        real = None if real is None else torch.cat([real, real.new_ones(drafts.shape)], dim=1)
        for i, each in enumerate(self.slots):
            if i == drafter:
                continue
            with each.part.adapted():
                if self.any_ahead and self.ahead.all():
                    logits[i] = torch.cat([self.known[i], each.read(drafts, places[:, width:], None, keep=steps)], dim=1)
                    continue
                logits[i] = each.read(torch.cat([unread, drafts], dim=1), places, real, keep=steps + 1)
            if self.any_ahead:
                logits[i][:, :1] = torch.where(self.ahead[:, None, None], self.known[i], logits[i][:, :1])
        return logits

    def _judge(self, drafter: int, logits: list[Tensor], columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How many drafts each row keeps, the token after them, and how the parts overlap with the mixture, (rows, parts, columns)."""
        every = torch.cat([self._mixed(logits), *logits], dim=1)
        scores = self._processed(every, columns.repeat(1, len(logits) + 1)).unflatten(1, (len(logits) + 1, -1))
        drafts = self.text[self.rows[:, None], columns]
        if not self.sampling:
            best = scores.argmax(-1)
            overlaps = (best[:, 1:] == best[:, :1]).float()
            target = best[:, 0]
            target[:, 0] = torch.where(self.ahead, drafts[:, 0], target[:, 0])  # which was the mixture's already
            return *accept_greedily(drafts, target), overlaps
        chances = scores.softmax(-1)
        target, proposal = chances[:, 0], chances[:, 1 + drafter].clone()
        proposal[:, 0] = torch.where(self.ahead[:, None], target[:, 0], proposal[:, 0])  # it was drawn from the mixture
        return *accept(drafts, target, proposal), torch.minimum(chances[:, :1], chances[:, 1:]).sum(-1)

    def _mixed(self, logits: list[Tensor]) -> Tensor:
        """The mixture of the parts present."""
        found: list[Tensor | None] = [None] * self.parts
        for i, each in zip(self.present, logits, strict=True):
            found[i] = each
        return mix_present(found, self.weights)

    def _chosen(self, scores: Tensor) -> Tensor:
        """One token a row, shape (rows, 1)."""
        return torch.multinomial(scores.softmax(-1), 1) if self.sampling else scores.argmax(-1, keepdim=True)

    def _processed(self, logits: Tensor, columns: Tensor) -> Tensor:
        """What the logits processors make of logits, shape (rows, time, vocabulary), for tokens to stand in `columns`, (rows, time)."""
        for processor in self.processors:
            if type(processor) in _OF_LOGITS:
                logits = processor(None, logits.flatten(0, 1)).view_as(logits)
                continue
            processed = torch.empty_like(logits)
            for step in range(columns.shape[1]):
                for length in columns[:, step].unique().tolist():
                    # all rows, finished ones too, as some processors know how a row was padded; who is elsewhere does not count
                    here = (columns[:, step] == length).nonzero()[:, 0]
                    scores = logits.new_zeros(len(self.text), logits.shape[-1])
                    scores[self.rows[here]] = logits[here, step]
                    processed[here, step] = processor(self.text[:, :length], scores)[self.rows[here]]
            logits = processed
        return logits

    def _stopped(self, columns: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Where each row ends, of those that have grown to `length`, and which are finished; both of shape (rows,)."""
        finished = length >= self.limit
        length = length.clamp(max=self.limit)
        for criterion in self.criteria:
            if isinstance(criterion, stopping.MaxLengthCriteria):
                continue
            ends = torch.zeros_like(columns, dtype=torch.bool)
            if type(criterion) is stopping.EosTokenCriteria:
                ends = torch.isin(self.text[self.rows[:, None], columns], criterion.eos_token_id.to(columns.device))
            else:  # after every token of every row by itself, as in plain decoding
                for i, row in enumerate(self.rows.tolist()):
                    for step, end in enumerate(range(int(columns[i, 0]) + 1, int(length[i]) + 1)):
                        ends[i, step] = criterion(self.text[row : row + 1, :end], None).all()
            ends = ends & (columns < length[:, None])
            ended = ends.any(-1)
            length = torch.where(ended, columns.gather(1, ends.long().argmax(1, keepdim=True))[:, 0] + 1, length)
            finished = finished | ended
        return length, finished

    def _go_on_with(self, going: Tensor) -> None:
        """Only these of the rows stay in the batch."""
        self.rows, self.weights, self.padding, self.ahead = (
            each[going] for each in (self.rows, self.weights, self.padding, self.ahead)
        )
        self.known = {i: each[going] for i, each in self.known.items()}
        for each in self.slots:
            each.select(going)


def window_of(part: Part) -> float:
    """The fewest tokens that a layer of the part looks back at; infinite where all see all.

    Raises:
        TypeError: if a layer keeps something else than keys and values of each token, which cannot be taken back.
    """
    config = part.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise TypeError(f"the layers of {part.name} keep more than keys and values")
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min([*windows, getattr(config, "window_size", None) or torch.inf])  # GPT-Neo's is of another name


def _obstacle(model: Any, lam: Any, arguments: dict[str, Any]) -> str | None:
    """Why `speculate` cannot serve a call of `generate`, as far as its arguments tell."""
    given = [name for name in _PLAIN_ONLY if arguments.get(name) is not None]
    if given:
        return f"it does not work with {given[0]}="
    if model.config.is_encoder_decoder:
        return "the models are encoder-decoders"
    if callable(lam):
        return "lam is a schedule"
    for part in model.parts:
        if "position_ids" not in part.known:
            return f"{part.name} takes no position_ids"
        if part.config._attn_implementation not in ("eager", "sdpa"):
            return f"the attention of {part.name} is {part.config._attn_implementation!r}, not 'eager' or 'sdpa'"
    others = {name: value for name, value in arguments.items() if name not in ("inputs", "generation_config")}
    config, _ = model._prepare_generation_config(arguments.get("generation_config"), **others)
    mode = config.get_generation_mode()
    if mode not in (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH):
        return f"the mode is {mode.value}"
    if config.return_dict_in_generate:
        return "more than the sequences is to be returned"
    if config.use_cache is False or config.cache_implementation not in (None, "dynamic"):
        return "it needs the dynamic cache"
    return None


def _obstacle_prepared(model: Any, processors: Any, criteria: Any) -> str | None:
    """Why `speculate` cannot serve what `generate` has prepared."""
    unknown = [type(each).__name__ for each in processors if type(each) not in _OF_LOGITS | _OF_TEXT]
    if unknown:
        return f"the logits processor {unknown[0]} may remember what it was called with"
    kinds = [type(each) for each in criteria]
    if stopping.EosTokenCriteria not in kinds and set(kinds) - {stopping.MaxLengthCriteria}:
        return "without an end-of-sequence token rows that have stopped go on until all have"
    try:
        window = min(map(window_of, model.parts))
    except TypeError as error:
        return str(error)
    if window < criteria.max_length + LONGEST_DRAFT + 1:
        return f"a sliding window of {window} tokens is shorter than the text may become"
    return None


def _warn(reason: str) -> None:
    warnings.warn(f"decoding is plain, not speculative: {reason}", stacklevel=2)
