"""The layers of one pass: they add each part's adapter to that part's rows of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dera.model.parts import Part
from dera.one_pass.conditions import is_lora_on_linear


class Adapter(NamedTuple):
    """The two matrices of a LoRA adapter, which is `up @ down * scalings[name]`.

    The layers share PEFT's parameters, and the dictionary of scalings is PEFT's own: a change made
    through PEFT is seen.
    """

    down: Any
    up: Any
    scalings: dict[str, float]
    name: str


class AdaptedLinear(nn.Module):
    """A linear layer, and what each adapter adds to the rows of its part.

    Args:
        parts: all parts of the `OnePass`.
        indices: the indices of the parts whose rows are in the batch, in the order of their rows.
        layer: the base's layer, or PEFT's layer around it.

    Attributes:
        adapters: the adapters of the parts, by the part's index. A part without an adapter here is
            missing.
        present: the adapters of the parts in the batch, each with its part's place in the batch.
    """

    def __init__(self, parts: Sequence[Part], indices: Sequence[int], layer: Any):
        super().__init__()
        self.number_of_parts = len(indices)
        self.base_layer: Any = layer
        self.adapters: dict[int, Adapter] = {}
        if is_lora_on_linear(layer):
            self.base_layer = layer.base_layer
            self.adapters = _adapters_of(layer, parts)
        self.is_plain_linear = type(self.base_layer) is nn.Linear
        self.present: list[tuple[int, Adapter]] = []
        self.select_parts(indices)

    def select_parts(self, indices: Sequence[int]) -> None:
        """Find the adapters for a batch with the rows of these parts. It is done once."""
        self.present = [
            (place, self.adapters[part])
            for place, part in enumerate(indices)
            if part in self.adapters
        ]

    def forward(self, x: Tensor) -> Tensor:
        result = self._base_result(x)
        if not self.present:
            return result
        inputs, outputs = x.flatten(0, -2), result.flatten(0, -2)
        rows = len(inputs) // self.number_of_parts
        for place, adapter in self.present:
            part_rows = slice(place * rows, (place + 1) * rows)
            down = adapter.down.weight
            up = adapter.up.weight
            scaling = adapter.scalings[adapter.name]
            if down.dtype == x.dtype == outputs.dtype:
                outputs[part_rows].addmm_(inputs[part_rows] @ down.t(), up.t(), alpha=scaling)
            else:
                outputs[part_rows] += inputs[part_rows].to(down.dtype) @ down.t() @ up.t() * scaling
        return outputs.view_as(result)

    def _base_result(self, x: Tensor) -> Tensor:
        """Return the base layer's output.

        A base that is alone in the batch runs its own layer, so that its output is the reference's
        bit for bit.
        """
        layer = self.base_layer
        direct = self.is_plain_linear and self.number_of_parts > 1
        if direct and not layer._forward_hooks and not layer._forward_pre_hooks:
            return _linear(x, layer.weight, layer.bias)
        result = layer(x)
        # Autograd does not let a view be changed, and layers of quantised weights return views.
        if torch.is_grad_enabled() and not self.is_plain_linear:
            return result.clone()
        return result


class WideBlock(nn.Module):
    """A decoder block that runs on the rows of all parts, where lower blocks run for one part.

    Args:
        number_of_parts: how many parts have rows in the batch.
        widens: whether this is the first such block, which gets the rows of one part and repeats
            them for every part.
        layer: the block.
    """

    def __init__(self, number_of_parts: int, widens: bool, layer: nn.Module):
        super().__init__()
        self.number_of_parts = number_of_parts
        self.widens = widens
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        """Return the block's own attribute: models ask a block for the kind of its attention."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        times = self.number_of_parts
        batch = len(hidden_states) if self.widens else len(hidden_states) // times
        if times > 1:
            args = repeat_rows(args, batch, times)
            kwargs = repeat_rows(kwargs, batch, times)
            if self.widens:
                hidden_states = repeat_rows(hidden_states, batch, times)
        return self.layer(hidden_states, *args, **kwargs)


def repeat_rows(value: Any, batch: int, times: int) -> Any:
    """Repeat tensors that have `batch` rows, also those in tuples and dictionaries.

    The batch is repeated as a whole, `times` times. Other values are returned unchanged.
    """
    if isinstance(value, Tensor):
        if value.ndim > 1 and len(value) == batch:
            return value.repeat(times, *[1] * (value.ndim - 1))
        return value
    if isinstance(value, tuple):
        return tuple(repeat_rows(item, batch, times) for item in value)
    if isinstance(value, dict):
        return {name: repeat_rows(item, batch, times) for name, item in value.items()}
    return value


def _adapters_of(layer: Any, parts: Sequence[Part]) -> dict[int, Adapter]:
    """Return the adapters that PEFT's layer holds for these parts, by the part's index."""
    adapters = {}
    for index, part in enumerate(parts):
        name = part.adapter
        if name is not None and name in layer.lora_A:
            adapters[index] = Adapter(layer.lora_A[name], layer.lora_B[name], layer.scaling, name)
    return adapters


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what torch's linear layer returns.

    On a CPU torch reads the weights once for one row, but more than once for two to four rows. The
    transposed product reads them once for two to four rows too.
    """
    rows = x.numel() // x.shape[-1]
    is_large = weight.numel() >= 2**16
    is_float_on_cpu = weight.dtype == torch.float32 and weight.device.type == "cpu"
    if 2 <= rows <= 4 and is_large and is_float_on_cpu:
        result = torch.mm(weight, x.flatten(0, -2).t()).t().contiguous().view(*x.shape[:-1], -1)
        return result if bias is None else result + bias
    return nn.functional.linear(x, weight, bias)
