"""Which modules a model has, so that a change of them is seen."""

from __future__ import annotations

from torch import nn

from dera.model.modules import modules_of


class Structure:
    """The modules inside a model, as they are when this is made.

    PEFT replaces modules when adapters are added, deleted, loaded or unloaded. Weights that are
    trained, loaded in place, moved or converted leave the modules as they are.
    """

    def __init__(self, model: nn.Module):
        self._children = [
            (module._modules, list(module._modules.values()))
            for module in modules_of(model)
            if module._modules
        ]

    def is_current(self) -> bool:
        """Return whether the model still has these modules."""
        return all(list(now.values()) == before for now, before in self._children)
