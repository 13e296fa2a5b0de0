"""What speculative decoding cannot serve, told before or after `generate` has prepared its processors and criteria."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import logits_process as processing
from transformers.generation import stopping_criteria as stopping
from transformers.generation.configuration_utils import GenerationMode

from dera.model.parts import Part
from dera.speculative.drafting import LONGEST_DRAFT
from dera.weights import as_lam

#: Arguments of `generate` and `sample_completions` with which the plain loop is taken: some never reach a loop of one's own, some change what models read.
_PLAIN_ONLY = [
    *(
        "assistant_model",
        "assistant_tokenizer",
        "custom_generate",
        "inputs_embeds",
        "negative_prompt_ids",
        "past_key_values",
    ),
    *("prefix_allowed_tokens_fn", "streamer", "synced_gpus", "tokenizer", "on_step", "generator"),
]

#: What `generate` hands to a loop of one's own, of the arguments of `forward`.
_PREPARED = {
    *(
        "attention_mask",
        "lam",
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "past_key_values",
        "position_ids",
    ),
    "use_cache",
}

#: Logits processors that look at the logits alone, so that all positions may be processed at once.
OF_LOGITS = {
    *(
        processing.TemperatureLogitsWarper,
        processing.TopKLogitsWarper,
        processing.TopPLogitsWarper,
        processing.MinPLogitsWarper,
    ),
    *(processing.TypicalLogitsWarper, processing.EpsilonLogitsWarper, processing.EtaLogitsWarper),
    *(
        processing.TopHLogitsWarper,
        processing.InfNanRemoveLogitsProcessor,
        processing.LogitNormalization,
    ),
    processing.SuppressTokensLogitsProcessor,
}

#: Those that look at the text too, and at nothing else: any other may remember what it was called with, which drafts would spoil.
OF_TEXT = {
    *(processing.MinLengthLogitsProcessor, processing.MinNewTokensLengthLogitsProcessor),
    *(processing.ExponentialDecayLengthPenalty, processing.SuppressTokensAtBeginLogitsProcessor),
    *(
        processing.RepetitionPenaltyLogitsProcessor,
        processing.EncoderRepetitionPenaltyLogitsProcessor,
    ),
    *(processing.NoRepeatNGramLogitsProcessor, processing.EncoderNoRepeatNGramLogitsProcessor),
    *(processing.SequenceBiasLogitsProcessor, processing.NoBadWordsLogitsProcessor),
    *(processing.ForcedBOSTokenLogitsProcessor, processing.ForcedEOSTokenLogitsProcessor),
}


def as_keywords(args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `generate` by name."""
    names = list(inspect.signature(GenerationMixin.generate).parameters)[1:]
    return dict(zip(names, args, strict=False)) | kwargs


def serves(model: Any, lam: Any, arguments: dict[str, Any]) -> bool:
    """Whether `speculate` decodes this call of `generate`; warns where it cannot.

    A mixture of one model has nothing to verify; a base and its adapters are read in one pass, which costs less than drafts would.
    """
    reason = _obstacle(model, lam, arguments)
    if reason is not None:
        _warn(reason)
        return False
    one_pass = model.one_pass is not None and model.one_pass.ready
    return (
        not one_pass
        and sum(
            model.parts_with_share(
                lam if isinstance(lam, Tensor) else as_lam(lam, 1, names=model.names)
            )
        )
        > 1
    )


def serves_prepared(model: Any, processors: Any, criteria: Any, arguments: dict[str, Any]) -> bool:
    """Whether `speculate` decodes with these processors, stopping criteria and arguments of `forward`; warns where it cannot."""
    reason = _obstacle_prepared(model, processors, criteria, arguments)
    if reason is not None:
        _warn(reason)
    return reason is None


def window_of(part: Part) -> float:
    """The fewest tokens that a layer of the part looks back at; infinite where all see all.

    Raises:
        TypeError: if a layer keeps something else than keys and values of each token, which cannot be taken back.
    """
    config = part.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise TypeError(f"the layers of {part.name} keep more than keys and values")
    windows = [
        layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)
    ]
    return min(
        [*windows, getattr(config, "window_size", None) or torch.inf]
    )  # GPT-Neo's is of another name


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
    others = {
        name: value
        for name, value in arguments.items()
        if name not in ("inputs", "generation_config")
    }
    config, _ = model._prepare_generation_config(arguments.get("generation_config"), **others)
    mode = config.get_generation_mode()
    if mode not in (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH):
        return f"the mode is {mode.value}"
    if config.return_dict_in_generate:
        return "more than the sequences is to be returned"
    if config.use_cache is False or config.cache_implementation not in (None, "dynamic"):
        return "it needs the dynamic cache, neither none nor a static one"
    return None


def _obstacle_prepared(
    model: Any, processors: Any, criteria: Any, arguments: dict[str, Any]
) -> str | None:
    """Why `speculate` cannot serve what `generate` has prepared."""
    others = [
        name for name, value in arguments.items() if value is not None and name not in _PREPARED
    ]
    if others:
        return f"it does not work with {others[0]}="
    if arguments["position_ids"].ndim != 2:
        return "a token has several positions"
    unknown = [type(each).__name__ for each in processors if type(each) not in OF_LOGITS | OF_TEXT]
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
