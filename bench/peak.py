"""The peak memory of weights and tensors while a function runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        for tensor in tree_leaves(result):
            if not isinstance(tensor, Tensor) or tensor.is_meta:
                continue  # a placeholder on the device "meta" takes no memory
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
    weights: list[Tensor] = []
    for module in modules:
        weights += [*module.parameters(), *module.buffers()]
    # Weights that stay on disk have placeholders on the device "meta".
    weights = [weight for weight in weights if not weight.is_meta]
    sizes = {_storage_key(tensor): tensor.untyped_storage().nbytes() for tensor in weights}
    weight_bytes = sum(sizes.values())
    if weights[0].device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
        before = torch.accelerator.memory_allocated()
        run()
        return weight_bytes + torch.accelerator.max_memory_allocated() - before
    watch = _Watch(weights)
    with watch:
        run()
    return weight_bytes + watch.peak


def _storage_key(tensor: Tensor) -> int:
    """Return what tells one storage from another."""
    return tensor.untyped_storage()._cdata
