"""One pass for a base and its LoRA adapters: each adapter is added to the rows of its own part.

The weights of the base are read once a pass, however many parts there are. Where adapters touch the
upper layers only, the layers below run on the rows of one part. (PEFT can mix adapters in a batch
too, with `adapter_names`; it gathers and scatters the rows of each adapter in every layer.)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from dera.model.modules import lock_of, rescales
from dera.model.padding import positions_of
from dera.model.parts import Part
from dera.one_pass.cache import DynamicOnePassCache, OnePassCache, StaticOnePassCache
from dera.one_pass.conditions import decoder_layers, is_lora_on_linear
from dera.one_pass.layers import AdaptedLinear, WideBlock, repeat_rows
from dera.one_pass.sharing import Replacement, copy_with_replacements

#: What layers raise when they get tensors of a shape they do not expect.
SHAPE_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)

_numbers = count()


class OnePass:
    """Runs parts that are one PEFT model with its adapters on and off, some or all in one pass.

    The layers are copies of the PEFT model's and share its weights. Only the linear layers and the
    blocks that adapters reach are replaced. Nothing is switched on or off, so the PEFT model is
    never changed. The logits are PEFT's, up to rounding.

    There is one such copy for each choice of parts, and a call changes nothing in it, so that calls
    may run at the same time. The copies are right for as long as the PEFT model has the modules
    that it has now (`Structure` tells when it does not).

    Args:
        parts: the parts of one PEFT model, which `can_run_in_one_pass` accepts.

    Attributes:
        first_wide_layer: the first layer that runs on the rows of all parts. The layers below it
            run on the rows of one part.
        number: a number that no other `OnePass` of this process has.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        self.number = next(_numbers)
        base = parts[0].base
        self._lora_layers = _lora_layers_of(base)
        has_adapter = [bool(_lora_layers_of(layer)) for layer in decoder_layers(base)]
        self.first_wide_layer = has_adapter.index(True) if True in has_adapter else 0
        self._rescaling = [module for module in base.modules() if rescales(module)]
        self._copies: dict[tuple[int, ...], nn.Module] = {}

    @property
    def ready(self) -> bool:
        """Whether one pass can be used now: its trial succeeded, and no adapter is merged.

        A call that switches adapters in another thread may have unmerged them for itself.
        """
        with lock_of(self.parts[0].base):
            return not any(layer.merged_adapters for layer in self._lora_layers) and self._trial

    def empty_cache(self, number_of_parts: int, length: int | None = None) -> OnePassCache:
        """Return an empty cache for so many parts: a static one of a length, or a dynamic one."""
        config = self.parts[0].config
        cache: OnePassCache
        if length is None:
            cache = DynamicOnePassCache(config=config)
        else:
            cache = StaticOnePassCache(config=config, max_cache_len=length)
        cache.number_of_parts = number_of_parts
        cache.first_wide_layer = self.first_wide_layer if number_of_parts > 1 else 0
        cache.maker = self.number
        return cache

    def __call__(self, indices: list[int], **inputs: Any) -> list[Tensor]:
        """Return the logits of some parts, each of shape (batch, time, vocabulary).

        Args:
            indices: the parts to run. They stay the same for as long as a cache is in use.
            **inputs: the arguments of the base's forward for the rows of one part;
                `past_key_values` comes from `empty_cache`.
        """
        times = len(indices)
        if self.first_wide_layer == 0 and times > 1:
            batch = len(inputs["input_ids"])
            inputs = {name: repeat_rows(value, batch, times) for name, value in inputs.items()}
        with lock_of(self.parts[0].base) if self._rescaling else nullcontext():
            return list(self._copy_for(indices)(**inputs).logits.chunk(times))

    def _copy_for(self, indices: Sequence[int]) -> nn.Module:
        """Return the copy of the base that runs these parts, which is made when first asked for."""
        key = tuple(indices)
        if key not in self._copies:
            self._copies[key] = self._copied(indices)
        return self._copies[key]

    def _copied(self, indices: Sequence[int]) -> nn.Module:
        """Make a copy of the base. Layers below `first_wide_layer` run on the rows of one part."""
        base = self.parts[0].base

        # Replace the blocks that run on the rows of all parts, if the blocks below do not.
        replacements: dict[int, Replacement] = {}
        for index, block in enumerate(decoder_layers(base)):
            if index >= self.first_wide_layer > 0:
                widens = index == self.first_wide_layer
                replacements[id(block)] = partial(WideBlock, len(indices), widens)

        # Replace all linear layers, with and without an adapter. The PEFT model keeps its own.
        for layer in [*self._lora_layers, *_linear_layers_outside(base, self._lora_layers)]:
            replacements[id(layer)] = partial(AdaptedLinear, self.parts, indices)

        # Modules that remember how long texts were stay the base's own.
        kept = {id(module): module for module in self._rescaling}
        return copy_with_replacements(base, replacements, kept)

    @cached_property
    def _trial(self) -> bool:
        """Whether one pass gives the logits of the parts for a few tokens.

        It is tried once, when this is first asked, because blocks may be built in ways that were
        not foreseen here. Where the logits differ and the lower layers run for one part, all layers
        are made to run for all parts, and it is tried again.
        """
        ids = (torch.arange(12).view(4, 3) + 2) % self.parts[0].config.vocab_size
        mask = torch.ones_like(ids)
        mask[1, 0] = 0
        inputs = self.parts[0].known_of(
            dict(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions_of(mask),
                use_cache=False,
            )
        )
        with torch.no_grad():
            expected = [part(**inputs).logits[:, -2:].float() for part in self.parts]
            if self._reproduces(expected, inputs):
                return True
            if self.first_wide_layer == 0:
                return False
            self.first_wide_layer = 0
            self._copies = {}
            return self._reproduces(expected, inputs)

    def _reproduces(self, expected: list[Tensor], inputs: dict[str, Any]) -> bool:
        """Return whether one pass gives the expected logits of the parts.

        The mean error may be as large as rounding, or as a tenth of what the adapters change.
        """
        try:
            outputs = self(list(range(len(self.parts))), **inputs)
            logits = [part_logits[:, -2:].float() for part_logits in outputs]
        except SHAPE_ERRORS:
            return False
        reference, *aligned = expected
        eps = torch.finfo(self.parts[0].base.dtype).eps
        rounding = (4 if eps > 1e-4 else 50) * eps * reference.abs().mean()
        smallest_effect = min((part - reference).abs().mean() for part in aligned)
        errors = [
            (part_logits - part_expected).abs().mean()
            for part_logits, part_expected in zip(logits, expected, strict=True)
        ]
        return all(error <= max(rounding, 0.1 * smallest_effect) for error in errors)


def _lora_layers_of(module: nn.Module) -> list[Any]:
    """Return PEFT's LoRA layers inside a module."""
    return [layer for layer in module.modules() if is_lora_on_linear(layer)]


def _linear_layers_outside(base: nn.Module, lora_layers: list[Any]) -> list[nn.Module]:
    """Return the base's linear layers that are not inside one of PEFT's LoRA layers."""
    inside: set[int] = set()
    for layer in lora_layers:
        inside |= {id(module) for module in layer.modules() if module is not layer}
    return [
        module
        for module in base.modules()
        if type(module) is nn.Linear and id(module) not in inside
    ]
