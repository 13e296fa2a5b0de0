"""What a call may have to change in a model that others use too, and the model's lock."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

#: The lock of each transformers model. Models are compared by identity, so all realigned models
#: that share one share its lock.
_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


def lock_of(base: nn.Module) -> Any:
    """Return the re-entrant lock of a transformers model, which PEFT models around it share."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(base, threading.RLock())


def modules_of(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and all modules inside, each once. It takes less time than torch's own."""
    seen: set[int] = set()
    left: list[nn.Module | None] = [module]
    while left:
        found = left.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            left.extend(found._modules.values())


def input_device(model: Any) -> torch.device:
    """Return the device on which a transformers model takes its tokens.

    Weights that are kept in main memory or on disk have placeholders on the device "meta". They are
    fetched to the device on which their layers run, and accelerate's hooks name it.
    """
    if model.device.type != "meta":
        return model.device
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", [hook]):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return model.device


def rescales(module: nn.Module) -> bool:
    """Return whether a module changes its own frequencies with the length of the text it reads.

    Rotary embeddings of the kinds "dynamic" and "longrope" do.
    """
    kinds = vars(module).get("rope_type")
    if kinds is None:
        return False
    kinds = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any(kind == "longrope" or "dynamic" in str(kind) for kind in kinds)


@dataclass
class Found:
    """What a call of a module may have to change.

    Attributes:
        layers: the layers that PEFT switches.
        in_training_mode: the modules in training mode.
        rescales: whether a module changes its own frequencies, which one call at a time may do.
    """

    layers: list[Any]
    in_training_mode: list[nn.Module]
    rescales: bool


class Structure:
    """The modules inside a model, as they are when this is made.

    PEFT replaces modules when adapters are added, deleted, loaded or unloaded. Weights that are
    trained, loaded in place, moved or converted leave the modules as they are.

    Attributes:
        modules: the model and all modules inside, each once.
        layers: those of them that PEFT switches.
    """

    def __init__(self, model: nn.Module):
        self.modules = list(modules_of(model))
        switched: Any = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        self.layers: list[Any] = [module for module in self.modules if isinstance(module, switched)]
        self._inside = [module._modules for module in self.modules]
        self._children = self._children_now()
        self._rotary = [module for module in self.modules if "rope_type" in vars(module)]

    def is_current(self) -> bool:
        """Return whether the model still has these modules."""
        return self._children_now() == self._children

    def _children_now(self) -> list[nn.Module | None]:
        """Return the modules directly inside each module. It takes some microseconds."""
        return list(chain.from_iterable(map(dict.values, self._inside)))

    def found(self) -> Found:
        """Return what a call may have to change. Modes may change without the modules changing."""
        in_training_mode = [module for module in self.modules if module.training]
        return Found(self.layers, in_training_mode, any(map(rescales, self._rotary)))


class Surveyed:
    """A model that is looked through at every call, because the user may have changed any of it.

    The list of its modules is made again only when it has other modules.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._structure = Structure(model)

    def found(self) -> Found:
        """Return what a call may have to change."""
        structure = self._structure
        if not structure.is_current():
            structure = self._structure = Structure(self._model)
        return structure.found()


@contextmanager
def in_evaluation_mode(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Return a context in which modules that are in training mode are in evaluation mode."""
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module in modules:
            module.training = True
