"""What speculative decoding does not support, so that texts are decoded plainly instead.

The arguments of `generate` tell some of it (`serves`). The rest shows only in the logits processors
and stopping criteria that `generate` prepares (`serves_prepared`).
"""

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
from dera.speculative.draft_length import LONGEST_DRAFT
from dera.weights import as_lam

#: Arguments of `generate` and `sample_completions` with which texts are decoded plainly. Some of
#: them never reach a caller's own loop, and some change what the models read.
_PLAIN_ONLY = [
    "assistant_model",
    "assistant_tokenizer",
    "custom_generate",
    "inputs_embeds",
    "negative_prompt_ids",
    "past_key_values",
    "prefix_allowed_tokens_fn",
    "streamer",
    "synced_gpus",
    "tokenizer",
    "on_step",
    "generator",
]

#: The arguments of `forward` that `generate` hands to a caller's own loop.
_PREPARED = {
    "attention_mask",
    "lam",
    "logits_to_keep",
    "output_attentions",
    "output_hidden_states",
    "past_key_values",
    "position_ids",
    "use_cache",
}

#: Logits processors that look at the logits alone, so that all positions are processed at once.
OF_LOGITS = {
    processing.EpsilonLogitsWarper,
    processing.EtaLogitsWarper,
    processing.InfNanRemoveLogitsProcessor,
    processing.LogitNormalization,
    processing.MinPLogitsWarper,
    processing.SuppressTokensLogitsProcessor,
    processing.TemperatureLogitsWarper,
    processing.TopHLogitsWarper,
    processing.TopKLogitsWarper,
    processing.TopPLogitsWarper,
    processing.TypicalLogitsWarper,
}

#: Logits processors that look at the logits and the text, and at nothing else. Any other processor
#: may remember what it was called with, which goes wrong where drafts are refused.
OF_TEXT = {
    processing.EncoderNoRepeatNGramLogitsProcessor,
    processing.EncoderRepetitionPenaltyLogitsProcessor,
    processing.ExponentialDecayLengthPenalty,
    processing.ForcedBOSTokenLogitsProcessor,
    processing.ForcedEOSTokenLogitsProcessor,
    processing.MinLengthLogitsProcessor,
    processing.MinNewTokensLengthLogitsProcessor,
    processing.NoBadWordsLogitsProcessor,
    processing.NoRepeatNGramLogitsProcessor,
    processing.RepetitionPenaltyLogitsProcessor,
    processing.SequenceBiasLogitsProcessor,
    processing.SuppressTokensAtBeginLogitsProcessor,
}


def as_keywords(args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of `generate` by name."""
    names = list(inspect.signature(GenerationMixin.generate).parameters)[1:]
    return dict(zip(names, args, strict=False)) | kwargs


def serves(model: Any, lam: Any, arguments: dict[str, Any]) -> bool:
    """Return whether a call of `generate` is to be decoded speculatively; warn if it cannot be.

    Where nothing would be gained it is decoded plainly without a warning: a mixture of one model
    has nothing to verify, and a base and its adapters run in one pass, which costs less than drafts
    would.

    Args:
        model: the realigned model.
        lam: the mixing weight of the call.
        arguments: the other arguments of the call, by name.
    """
    reason = _unsupported(model, lam, arguments)
    if reason is not None:
        _warn(reason)
        return False
    if model.one_pass is not None and model.one_pass.ready:
        return False
    weights = lam if isinstance(lam, Tensor) else as_lam(lam, 1, names=model.names)
    return sum(model.parts_with_share(weights)) > 1


def serves_prepared(model: Any, processors: Any, criteria: Any, arguments: dict[str, Any]) -> bool:
    """Return whether what `generate` has prepared is supported; warn where it is not.

    Args:
        model: the realigned model.
        processors, criteria: the logits processors and the stopping criteria.
        arguments: the arguments of `forward`, by name.
    """
    reason = _unsupported_prepared(model, processors, criteria, arguments)
    if reason is not None:
        _warn(reason)
    return reason is None


def window_of(part: Part) -> float:
    """Return how many tokens a model looks back at: its smallest sliding window, or infinity.

    Raises:
        TypeError: if a layer keeps something else than each token's keys and values. Such a layer
            cannot take drafts back.
    """
    config = part.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    if {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise TypeError(f"the layers of {part.name} keep more than keys and values")
    windows = [
        layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)
    ]
    window_of_gpt_neo = getattr(config, "window_size", None)  # GPT-Neo's name for its window
    return min([*windows, window_of_gpt_neo or torch.inf])


def _unsupported(model: Any, lam: Any, arguments: dict[str, Any]) -> str | None:
    """Return why the arguments of a call of `generate` are not supported; None if they are."""
    for name in _PLAIN_ONLY:
        if arguments.get(name) is not None:
            return f"it does not work with {name}="
    if model.config.is_encoder_decoder:
        return "the models are encoder-decoders"
    if callable(lam):
        return "lam is a schedule"
    for part in model.parts:
        if "position_ids" not in part.known:
            return f"{part.name} takes no position_ids"
        if model.first_position:
            return f"{part.name} counts positions from {model.first_position}, not from 0"
        attention = part.config._attn_implementation
        if attention not in ("eager", "sdpa"):
            return f"the attention of {part.name} is {attention!r}, not 'eager' or 'sdpa'"
    return _unsupported_config(model, arguments)


def _unsupported_config(model: Any, arguments: dict[str, Any]) -> str | None:
    """Return why the generation settings of a call are not supported; None if they are."""
    settings = {
        name: value
        for name, value in arguments.items()
        if name not in ("inputs", "generation_config")
    }
    config, _ = model._prepare_generation_config(arguments.get("generation_config"), **settings)
    mode = config.get_generation_mode()
    if mode not in (GenerationMode.SAMPLE, GenerationMode.GREEDY_SEARCH):
        return f"the mode is {mode.value}"
    if config.guidance_scale not in (None, 1):
        return "guidance_scale asks for the likelihood of a second text"
    if config.return_dict_in_generate:
        return "return_dict_in_generate asks for more than the sequences"
    if config.use_cache is False or config.cache_implementation not in (None, "dynamic"):
        return "it needs the dynamic cache, and the call asks for none or for another (static, ...)"
    return None


def _unsupported_prepared(
    model: Any, processors: Any, criteria: Any, arguments: dict[str, Any]
) -> str | None:
    """Return why what `generate` has prepared is not supported; None if it is."""
    for name, value in arguments.items():
        if value is not None and name not in _PREPARED:
            return f"it does not work with {name}="
    if arguments["position_ids"].ndim != 2:
        return "a token has several positions"
    for processor in processors:
        if type(processor) not in OF_LOGITS | OF_TEXT:
            kind = type(processor).__name__
            return f"the logits processor {kind} may remember what it was called with"
    kinds = {type(criterion) for criterion in criteria}
    if stopping.EosTokenCriteria not in kinds and kinds - {stopping.MaxLengthCriteria}:
        return "without an end-of-sequence token, stopped rows go on until all have stopped"
    try:
        window = min(map(window_of, model.parts))
    except TypeError as error:
        return str(error)
    if window < criteria.max_length + LONGEST_DRAFT + 1:
        return f"a sliding window of {window} tokens is shorter than the text may become"
    return None


def _warn(reason: str) -> None:
    warnings.warn(f"decoding is plain, not speculative: {reason}", stacklevel=2)
