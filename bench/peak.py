"""The peak memory of weights and tensors while a function runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Adds up the storages that are alive after each operator, except those of `known` tensors."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.known = {_storage_key(tensor) for tensor in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        # A placeholder on the device "meta" takes no memory. What is lifted is memory of another
        # library: numpy's, or a file's that is read where it lies.
        results = [] if func is torch.ops.aten.lift_fresh.default else tree_leaves(result)
        for tensor in results:
            if not isinstance(tensor, Tensor) or tensor.is_meta:
                continue
            if _storage_key(tensor) not in self.known:
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def peak_bytes(run: Callable[[], Any], modules: Iterable[nn.Module]) -> int:
    """Return the bytes of the modules' weights, and the peak of all other tensors during `run`.

    A weight that modules share counts once. On a CPU the tensors that operators return are counted.
    Memory that an operator allocates and frees while it runs is not. On an accelerator the count of
    torch's allocator is read.
    """
    modules = list(modules)
    weights = _weights_of(modules)
    if weights and weights[0].device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
        before = torch.accelerator.memory_allocated()
        run()
        return weight_bytes(modules) + torch.accelerator.max_memory_allocated() - before
    watch = _Watch(weights)
    with watch:
        run()
    return weight_bytes(modules) + watch.peak


def weight_bytes(modules: Iterable[nn.Module]) -> int:
    """Return the bytes of the modules' weights in memory. A weight that they share counts once."""
    weights = _weights_of(modules)
    sizes = {_storage_key(tensor): tensor.untyped_storage().nbytes() for tensor in weights}
    return sum(sizes.values())


def _weights_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return the modules' weights in memory. Those on disk have placeholders on device "meta"."""
    return [weight for module in modules for weight in _weights(module) if not weight.is_meta]


def _weights(module: nn.Module) -> Iterator[Tensor]:
    """Yield a module's weights, and the scales that bitsandbytes keeps beside quantised ones."""
    yield from module.buffers()
    for parameter in module.parameters():
        yield parameter
        # 4 bits have the scale of each block, 8 bits that of each row. The scales of the blocks may
        # be quantised again, with scales of their own.
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None), parameter):
            for name in ("absmax", "code", "SCB"):
                scale = getattr(part, name, None)
                if isinstance(scale, Tensor):
                    yield scale
    for inner in module.modules():
        scale = getattr(getattr(inner, "state", None), "SCB", None)
        if isinstance(scale, Tensor):
            yield scale


def _storage_key(tensor: Tensor) -> int:
    """Return what tells one storage from another."""
    return tensor.untyped_storage()._cdata
