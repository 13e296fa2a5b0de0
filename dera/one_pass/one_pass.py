"""One pass for a base and its LoRA adapters: the rows of all parts in one batch, each adapter added to its own rows only.

The base's weights are read once a pass, however many parts there are; where adapters touch the upper layers only, the layers
below run on one part's rows for all. (PEFT can mix adapters in a batch too, `adapter_names`; it gathers and scatters rows by adapter.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from transformers import DynamicCache

from dera.model.padding import positions_of
from dera.model.parts import OFF, Part
from dera.speculative.unsupported import window_of


class OnePassCache(DynamicCache):
    """The keys and values of several parts, whose rows stand one part after another; rows are chosen as if there were one part.

    Args:
        config: of the base.
        parts: how many.
        first: the first layer that holds the rows of all parts; those below hold one part's.
    """

    def __init__(self, config: Any, parts: int, first: int):
        super().__init__(config=config)
        self.parts, self.first = parts, first

    def batch_select_indices(self, indices: Tensor) -> None:
        self._on_rows("batch_select_indices", indices)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self._on_rows("reorder_cache", beam_idx)

    def _on_rows(self, method: str, rows: Tensor) -> None:
        layers: list[Any] = self.layers
        for i, layer in enumerate(layers):
            if not layer.is_initialized:
                continue
            batch = layer.keys.shape[0] // self.parts
            all_rows = (
                torch.cat([rows + part * batch for part in range(self.parts)])
                if i >= self.first
                else rows
            )
            getattr(layer, method)(all_rows.to(layer.keys.device))


class OnePass:
    """The parts that are one PEFT model with adapters on and off, to be run together or each by itself.

    Its layers are the PEFT model's, with the same weights, but for those that hold adapters: nothing is switched on or off, so
    the PEFT model is never changed. Adapters are added as PEFT adds them, up to rounding.

    Args:
        parts: of one PEFT model, which `can_run_in_one_pass` accepts.

    Attributes:
        first: the first layer that an adapter touches.
        running: the parts whose rows are in the batch.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        self.lora = [each for each in parts[0].base.modules() if isinstance(each, LoraLinear)]
        touched = [
            any(isinstance(each, LoraLinear) for each in layer.modules())
            for layer in _decoder_layers(parts[0].base)
        ]
        self._build(touched.index(True) if True in touched else 0)

    def _build(self, first: int) -> None:
        """Make the layers, of which those below `first` are to run for one part."""
        base = self.parts[0].base
        self.first = first
        self.running: list[int] = []
        swaps: dict[int, Callable[[nn.Module], nn.Module]] = {
            id(layer): partial(_Upper, self, i == first)
            for i, layer in enumerate(_decoder_layers(base))
            if i >= first > 0
        }
        within = {id(child) for each in self.lora for child in each.modules()} - {
            id(each) for each in self.lora
        }
        linear = [
            each for each in base.modules() if type(each) is nn.Linear and id(each) not in within
        ]
        swaps |= {id(each): partial(_Linear, self) for each in [*self.lora, *linear]}
        self.module = _with_swapped(base, swaps)
        self.linear = [each for each in self.module.modules() if isinstance(each, _Linear)]

    @property
    def ready(self) -> bool:
        """Whether it gives what the parts give: tried once, and unless adapters have been merged into the base since."""
        return not any(each.merged_adapters for each in self.lora) and self.tried

    @cached_property
    def tried(self) -> bool:
        """Whether a few tokens, read when this is first asked, get the parts' own logits: blocks may be of a make not foreseen here.

        Where they do not with lower layers run for one part, all layers are run for all.
        """
        ids = (torch.arange(12).view(4, 3) + 2) % self.parts[0].config.vocab_size
        mask = torch.ones_like(ids)
        mask[1, 0] = 0
        inputs = dict(
            input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False
        )
        inputs = self.parts[0].known_of(inputs)
        with torch.no_grad():
            expected = [part(**inputs).logits[:, -2:].float() for part in self.parts]
            if self._gives(expected, inputs):
                return True
            if not self.first:
                return False
            self._build(0)
            return self._gives(expected, inputs)

    def _gives(self, expected: list[Tensor], inputs: dict[str, Any]) -> bool:
        """Whether the logits are these: within rounding, or a tenth of what the adapters change, in the mean."""
        try:
            found = [each[:, -2:].float() for each in self(list(range(len(self.parts))), **inputs)]
        except (
            RuntimeError,
            ValueError,
            IndexError,
            TypeError,
        ):  # whatever layers say to tensors of another shape
            return False
        eps = torch.finfo(self.parts[0].base.dtype).eps
        rounding = (4 if eps > 1e-4 else 50) * eps * expected[0].abs().mean()
        errors = [
            (mine - theirs).abs().mean() for mine, theirs in zip(found, expected, strict=True)
        ]
        effects = [(theirs - expected[0]).abs().mean() for theirs in expected[1:]]
        return all(error <= max(rounding, 0.1 * min(effects)) for error in errors)

    def cache(self, running: int) -> OnePassCache:
        """An empty cache for so many parts."""
        return OnePassCache(self.parts[0].config, running, self.first if running > 1 else 0)

    def __call__(self, running: list[int], **inputs: Any) -> list[Tensor]:
        """The logits of the parts with these indices, each of shape (batch, time, vocabulary).

        Args:
            running: which parts; the same ones for as long as a cache is in use.
            **inputs: of the base's forward, for the rows of one part; `past_key_values` from `cache`.
        """
        if self.running != running:
            self.running = list(running)
            for each in self.linear:
                each.run(self.running)
        if self.first == 0 and len(self.running) > 1:
            batch = len(inputs["input_ids"])
            inputs = {
                name: _repeated(value, batch, len(self.running)) for name, value in inputs.items()
            }
        return list(self.module(**inputs).logits.chunk(len(self.running)))


def can_run_in_one_pass(parts: Sequence[Part]) -> bool:
    """Whether `OnePass` serves these parts: one decoder-only PEFT model whose adapters are plain LoRA on linear layers of its blocks."""
    module, base = parts[0].module, parts[0].base
    adapters = [part.adapter for part in parts if part.adapter != OFF]
    if (
        not all(part.module is module and part.adapter for part in parts)
        or base.config.is_encoder_decoder
    ):
        return False
    if base.config.get_text_config() is not base.config or any(
        module.peft_config[each].peft_type != "LORA" for each in adapters
    ):
        return False
    modules = dict(base.named_modules())
    # what was replaced in a module itself (as for weights that are kept elsewhere) would go on with the modules it was made for
    if any(
        "forward" in vars(each) or isinstance(each, AuxiliaryTrainingWrapper)
        for each in modules.values()
    ):
        return False
    try:
        window_of(parts[0])
    except TypeError:  # a layer keeps something else than keys and values
        return False
    layers, head = _decoder_layers(base), base.get_output_embeddings()
    inside = {
        id(each)
        for layer in layers
        for name, each in layer.named_modules()
        if not _in_list(layer, name)
    }
    return bool(layers) and all(
        type(each) is LoraLinear
        and not each.lora_variant
        and not any(each.lora_bias.values())
        and (id(each) in inside or each is head)
        for each in modules.values()
        if isinstance(each, BaseTunerLayer)
    )


def _decoder_layers(base: Any) -> list[nn.Module]:
    """The blocks of a decoder, the lowest first; none if they are not found."""
    for each in base.modules():
        if isinstance(each, nn.ModuleList) and len(each) == base.config.num_hidden_layers:
            return list(each)
    return []


def _in_list(layer: nn.Module, name: str) -> bool:
    """Whether a module of a block is one of a list, as experts are, which see some rows and not others."""
    names = name.split(".")
    return any(
        isinstance(layer.get_submodule(".".join(names[:i])), nn.ModuleList)
        for i in range(1, len(names))
    )


def _with_swapped(
    module: nn.Module, swaps: dict[int, Callable[[nn.Module], nn.Module]], made: dict | None = None
) -> nn.Module:
    """A module with the same parameters, buffers and hooks, in which some modules, given by id, are wrapped."""
    made = {} if made is None else made
    if id(module) not in made:
        copied = object.__new__(type(module))
        copied.__dict__ = {**vars(module), "_modules": {}}
        for name, child in module._modules.items():
            copied._modules[name] = None if child is None else _with_swapped(child, swaps, made)
        made[id(module)] = swaps[id(module)](copied) if id(module) in swaps else copied
    return made[id(module)]


def _repeated(value: Any, batch: int, times: int) -> Any:
    """Tensors of so many rows, also those in tuples and dictionaries, repeated one time after another."""
    if isinstance(value, Tensor):
        return (
            value.repeat(times, *[1] * (value.ndim - 1))
            if value.ndim > 1 and len(value) == batch
            else value
        )
    if isinstance(value, tuple):
        return tuple(_repeated(each, batch, times) for each in value)
    return (
        {name: _repeated(each, batch, times) for name, each in value.items()}
        if isinstance(value, dict)
        else value
    )


class _Linear(nn.Module):
    """A linear layer, and what adapters of the running parts add to their parts' rows.

    Attributes:
        adapters: by part, the two layers of its adapter, and where the scaling stands; empty for a layer that has none.
        active: where the rows of each running part with an adapter begin, counted in parts, and that adapter.
    """

    def __init__(self, stack: OnePass, layer: Any):
        super().__init__()
        self.one_pass = stack
        self.base_layer: Any = layer.base_layer if isinstance(layer, LoraLinear) else layer
        self.adapters: dict[int, tuple[Any, Any, dict[str, float], str]] = {}
        if isinstance(layer, LoraLinear):
            for i, name in enumerate(part.adapter for part in stack.parts):
                if name is not None and name in layer.lora_A:
                    self.adapters[i] = layer.lora_A[name], layer.lora_B[name], layer.scaling, name
        self.plain = type(self.base_layer) is nn.Linear
        self.active: list[tuple[int, Any, Any, dict[str, float], str]] = []

    def run(self, running: list[int]) -> None:
        """Get ready for these parts."""
        self.active = [
            (place, *self.adapters[part])
            for place, part in enumerate(running)
            if part in self.adapters
        ]

    def forward(self, x: Tensor) -> Tensor:
        layer = self.base_layer
        direct = (
            self.plain and len(self.one_pass.running) > 1
        )  # the base by itself is to be the reference bit for bit
        if direct and not layer._forward_hooks and not layer._forward_pre_hooks:
            result = _linear(x, layer.weight, layer.bias)
        else:
            result = layer(x)
        if not self.active:
            return result
        inputs, outputs = x.flatten(0, -2), result.flatten(0, -2)
        rows = len(inputs) // len(self.one_pass.running)
        for place, first, second, scalings, name in self.active:
            mine, down, up, scaling = (
                slice(place * rows, (place + 1) * rows),
                first.weight,
                second.weight,
                scalings[name],
            )
            if down.dtype == x.dtype == outputs.dtype:
                outputs[mine].addmm_(inputs[mine] @ down.t(), up.t(), alpha=scaling)
            else:
                outputs[mine] += inputs[mine].to(down.dtype) @ down.t() @ up.t() * scaling
        return outputs.view_as(result)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As torch's. For two to four rows on a CPU the transposed product reads the weights once, as torch's does for one row only."""
    rows = x.numel() // x.shape[-1]
    if (
        2 <= rows <= 4
        and weight.numel() >= 2**16
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
    ):
        result = torch.mm(weight, x.flatten(0, -2).t()).t().contiguous().view(*x.shape[:-1], -1)
        return result if bias is None else result + bias
    return nn.functional.linear(x, weight, bias)


class _Upper(nn.Module):
    """A block that an adapter touches, or above one, where blocks below run for one part: it `widens` if it is the first."""

    def __init__(self, stack: OnePass, widens: bool, layer: nn.Module):
        super().__init__()
        self.one_pass, self.widens, self.layer = stack, widens, layer

    def __getattr__(self, name: str) -> Any:
        """What else models ask of a layer, such as the kind of its attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        times = len(self.one_pass.running)
        batch = len(hidden_states) if self.widens else len(hidden_states) // times
        if times > 1:
            args, kwargs = _repeated(args, batch, times), _repeated(kwargs, batch, times)
            if self.widens:
                hidden_states = _repeated(hidden_states, batch, times)
        return self.layer(hidden_states, *args, **kwargs)
