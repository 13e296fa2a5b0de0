"""The most memory that tensors take at one time: the weights, and what operators return while a function runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Adds up the storages that are alive after each operator."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        self.known = {each.untyped_storage()._cdata for each in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.alive = {key: held for key, held in self.alive.items() if not held[0].expired()}
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and each.untyped_storage()._cdata not in self.known:
                storage = each.untyped_storage()
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def peak_bytes(run: Callable[[], Any], modules: Iterable[nn.Module]) -> int:
    """Bytes of the weights of these modules, each tensor once, and of the most that other tensors take while `run` runs.

    On a CPU the tensors that operators return are counted, and what an operator takes and gives back inside is not; on an
    accelerator the allocator's own account is read.
    """
    held = [each for module in modules for each in (*module.parameters(), *module.buffers())]
    weights = sum(
        {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in held}.values()
    )
    if held[0].device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
        before = torch.accelerator.memory_allocated()
        run()
        return weights + torch.accelerator.max_memory_allocated() - before
    watch = _Watch(held)
    with watch:
        run()
    return weights + watch.peak
