"""One decoding step of a mixture as one graph, which torch compiles and a GPU replays.

Transformers' `generate` compiles the step where the cache is static and the device is a GPU. A
realigned model's `forward` looks at values and at the caller's modules on the way, which a graph
cannot do. So all of that is done before: what is left for the graph is to run the parts on one
token of each row and to mix their logits. lam is a tensor of the graph, so that another lam does
not compile again.
"""

from __future__ import annotations

import copy
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Cache, CompileConfig, GenerationConfig, StaticCache
from transformers.generation import GenerationMode

from dera.mixing import mix_present
from dera.model.cache import RealignedCache
from dera.model.conventions import position_ids_for
from dera.model.output import RealignedOutput
from dera.model.parts import Part
from dera.model.reader import that_began
from dera.one_pass.cache import StaticOnePassCache
from dera.one_pass.one_pass import OnePass
from dera.weights import lam_of_columns

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel

#: What `generate` passes to a step of plain decoding, and the graph needs not know.
_KNOWN = {
    *("input_ids", "attention_mask", "position_ids", "past_key_values", "lam", "completion_start"),
    *("use_cache", "return_dict", "logits_to_keep"),
}


def compiled_arguments(
    given: dict[str, Any], default: CompileConfig, device: torch.device
) -> dict[str, Any]:
    """Return the arguments of `generate` with those that make it compile its steps on any device.

    Args:
        given: the arguments that the caller gave.
        default: how to compile if the caller did not say.
        device: where the models are.

    Raises:
        ValueError: if the caller asks for a cache that grows, or for what excludes compilation; or
            if there is nothing to compile with.
    """
    settings = given.get("generation_config")

    def asked(name: str) -> Any:
        value = given.get(name)
        return getattr(settings, name, None) if value is None else value

    if asked("cache_implementation") not in (None, "static"):
        raise ValueError(
            "compiled=True needs a static cache, whose size stays the same: leave out "
            f"cache_implementation={asked('cache_implementation')!r}"
        )
    for name in ("past_key_values", "disable_compile"):
        if asked(name) not in (None, False):
            raise ValueError(f"compiled=True and {name} exclude each other: leave one of them out")
    config = copy.copy(asked("compile_config") or default)
    if device.type == "cpu" and config.backend == "inductor" and not _finds_cpp_compiler():
        raise ValueError(
            "compiled=True needs a C++ compiler on a CPU: install g++, name one in the environment "
            "variable CXX, or leave compiled=True out"
        )
    config._compile_all_devices = True  # by itself, transformers does not compile on a CPU
    return {**given, "cache_implementation": "static", "compile_config": config}


def _finds_cpp_compiler() -> bool:
    """Return whether there is the compiler that torch calls on a CPU. Elsewhere torch looks."""
    if not sys.platform.startswith("linux"):
        return True
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def reason_not_to_compile_a_call(settings: GenerationConfig) -> str | None:
    """Return why the settings of a call of `generate` keep it from being compiled, or None."""
    mode = settings.get_generation_mode()
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        return f"{mode.value.replace('_', ' ')} is not compiled"
    if settings.output_hidden_states or settings.output_attentions:
        return "hidden states and attentions are asked for"
    return None


def reason_not_to_compile(model: RealignedModel, cache: Any) -> str | None:
    """Return why the steps of a call of `generate` cannot be compiled; None if they can.

    Args:
        model: the realigned model.
        cache: the empty cache of the call.
    """
    # The cache keeps its size, and everything is on one device.
    if model.config.is_encoder_decoder:
        return "encoder-decoders are not compiled"
    static = (StaticCache, StaticOnePassCache)
    if not isinstance(cache, RealignedCache) or any(type(c) not in static for c in cache.filled):
        return "the cache is not static"
    if any(of_part.offloading for of_part in cache.filled):
        return "the cache is offloaded"
    if len({part.base.device for part in model.parts}) > 1:
        return "the models are on several devices"

    # Nothing in the models changes from call to call. One pass runs copies that do not.
    found = [part.surveyed.found() for part in model.parts]
    if any(part.rescales for part in found):
        return "a model rescales its positions with the length of the text"
    is_one_pass = model.one_pass is not None and model.one_pass.ready
    if model.training or (any(part.in_training_mode for part in found) and not is_one_pass):
        return "a model is in training mode"
    if is_one_pass:
        return None
    if any(part.layers for part in found):
        return "an adapter does not run in one pass with its base, so that PEFT switches it"
    return None


class CompiledStep:
    """Stands for the model's `forward` in a call of `generate`, and compiles what it can.

    What is no step of plain decoding (a chunk of the prompt, hidden states that are asked for) is
    left to `forward`, and so is an adapter that runs alone, which PEFT has to switch on.

    Args:
        model: the realigned model.
        options: the arguments of `torch.compile`.
    """

    def __init__(self, model: RealignedModel, options: dict[str, Any]):
        self.model = model
        self.options = options
        # There is one compiled function for each choice of parts that run, or one pass of them.
        self._compiled: dict[tuple[Any, ...], Callable[..., Tensor]] = {}
        self._weights_of: tuple[Any, int, Tensor] | None = None
        self._warns = False

    def __call__(self, **inputs: Any) -> Any:
        """Return what `forward` returns for these arguments."""
        cache: RealignedCache = inputs["past_key_values"]
        if self._has_adapter_alone(cache):
            if self._warns:
                self._warns = False
                warnings.warn(
                    "decoding is not compiled: an adapter runs alone, without its base, as at "
                    "lam = 1",
                    stacklevel=2,
                )
            return self.model(**inputs)
        if not _is_plain_step(inputs):
            return self.model(**inputs)
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")

        # The mask gets a shape that stays the same from step to step. Transformers leaves out the
        # mask of a batch without padding.
        static_mask, positions = None, inputs.get("position_ids")
        if mask is not None:
            length = min(part.get_max_length() for part in cache.filled)
            static_mask = nn.functional.pad(mask, (0, max(0, length - mask.shape[1])))
            if positions is None:
                positions = position_ids_for(self.model, mask)[:, -1:]
        elif positions is None:
            positions = torch.full_like(ids, cache.get_seq_length() + self.model.first_position)

        weights = self._weights(inputs, cache)
        logits = self._step_for(cache)(ids, static_mask, positions, weights, cache.filled)
        return RealignedOutput(logits=logits, past_key_values=cache)

    def _has_adapter_alone(self, cache: RealignedCache) -> bool:
        """Return whether a part that runs by itself is an adapter."""
        parts = zip(self.model.parts, cache.parts, strict=True)
        return not cache.is_one_pass and any(
            part.adapter is not None for part, of_part in parts if of_part is not None
        )

    def begin(self, asked: bool) -> None:
        """Begin a call of `generate`. The caller may have changed a tensor lam in place.

        Args:
            asked: whether the caller asks for compilation, and is told if nothing is compiled.
        """
        self._weights_of = None
        self._warns = asked

    def _weights(self, inputs: dict[str, Any], cache: RealignedCache) -> Tensor:
        """Return the mixing weights of the rows, which stay the same unless lam is a schedule.

        Looking at them again at every step would make a GPU wait.
        """
        lam, ids = inputs["lam"], inputs["input_ids"]
        if not callable(lam):
            known = self._weights_of
            if known is not None and known[0] is lam and known[1] == len(ids):
                return known[2]
        past = cache.get_seq_length() if callable(lam) else 0  # only a schedule asks for it
        start = inputs.get("completion_start", 1)
        weights = lam_of_columns(lam, ids, past, start, 0, self.model.names)
        weights = weights.to(ids.device).contiguous()  # one layout, so that nothing compiles again
        if not callable(lam):
            self._weights_of = (lam, len(ids), weights)
        return weights

    def _step_for(self, cache: RealignedCache) -> Callable[..., Tensor]:
        """Return the compiled function for the parts that this cache is for.

        Raises:
            ValueError: if the adapters of these parts were changed after the cache was begun.
        """
        indices = [index for index, part in enumerate(cache.parts) if part is not None]
        one_pass = that_began(cache, self.model.one_pass) if cache.is_one_pass else None
        key = (*indices, None if one_pass is None else one_pass.number)
        if key not in self._compiled:
            step = _step(self.model.parts, indices, one_pass, self.model.vocabulary_size)
            self._compiled[key] = torch.compile(step, **self.options)
        return self._compiled[key]


def _is_plain_step(inputs: dict[str, Any]) -> bool:
    """Return whether the arguments of `forward` are those of one token a row after a prompt."""
    given = {name for name, value in inputs.items() if value is not None and value is not False}
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if not given <= _KNOWN or inputs.get("lam") is None:
        return False
    if ids is None or ids.shape[1] != 1:
        return False
    if mask is not None:
        return mask.ndim == 2 and mask.shape[1] > 1
    # Without a mask, nothing but the cache tells a prompt of one token from a step after it.
    return all(_has_read(cache) for cache in inputs["past_key_values"].filled)


def _has_read(cache: Cache) -> bool:
    """Return whether a cache holds tokens. Their number would make a GPU wait."""
    return any(getattr(layer, "is_initialized", False) for layer in cache.layers)


def _step(
    parts: Sequence[Part], indices: list[int], one_pass: OnePass | None, vocabulary_size: int
) -> Callable[..., Tensor]:
    """Return a function that reads one token a row and returns the mixture's logits.

    Args:
        parts: all parts.
        indices: the places of the parts that run.
        one_pass: what runs them in one pass; None where each runs by itself.
        vocabulary_size: how many tokens all parts know.
    """
    modules = [parts[index].module for index in indices]
    known = [parts[index].known for index in indices]

    def step(
        ids: Tensor,
        mask: Tensor | None,
        positions: Tensor,
        weights: Tensor,
        caches: list[Cache],
    ) -> Tensor:
        inputs: dict[str, Any] = dict(input_ids=ids, attention_mask=mask, position_ids=positions)
        inputs |= dict(use_cache=True, logits_to_keep=1, return_dict=True)
        taken = [{name: inputs[name] for name in inputs if name in names} for names in known]

        # In one pass the parts are one model, and have one cache.
        if one_pass is not None:
            of_parts = one_pass(indices, **taken[0], past_key_values=caches[0])
        else:
            of_parts = []
            for module, arguments, cache in zip(modules, taken, caches, strict=True):
                of_parts.append(module(**arguments, past_key_values=cache).logits)

        logits: list[Tensor | None] = [None] * len(parts)
        for index, part_logits in zip(indices, of_parts, strict=True):
            logits[index] = part_logits[:, -1:, :vocabulary_size]
        return mix_present(logits, weights)

    return step
