"""A copy of a model that shares all weights with it, and in which some modules are replaced."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

#: A function that gets a module and returns the module to put in its place.
Replacement = Callable[[nn.Module], nn.Module]


def copy_with_replacements(
    module: nn.Module,
    replacements: dict[int, Replacement],
    copies: dict[int, nn.Module] | None = None,
) -> nn.Module:
    """Return a copy of a module that has the same parameters, buffers and hooks.

    The copy is in evaluation mode, whichever mode the module is in or will be.

    Args:
        module: the module, which is not changed.
        replacements: for some modules inside, by their id, the function that gets the copy of the
            module and returns what is put in its place.
        copies: the copies made so far, by the id of the original. A caller passes the modules that
            are to stand for themselves.
    """
    copies = {} if copies is None else copies
    if id(module) not in copies:
        copied = object.__new__(type(module))
        copied.__dict__ = {**vars(module), "_modules": {}, "training": False}
        for name, child in module._modules.items():
            copied._modules[name] = (
                None if child is None else copy_with_replacements(child, replacements, copies)
            )
        replace = replacements.get(id(module))
        copies[id(module)] = copied if replace is None else replace(copied)
    return copies[id(module)]
