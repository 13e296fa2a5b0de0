"""Parts that share modules: what is done to one of them is then done to the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from dera.model.parts import Part


def check_aliases(parts: Sequence[Part]) -> None:
    """Refuse parts that share modules, except a base and the adapters of one PEFT model.

    PEFT puts adapters into the base object that it is given. Two PEFT models on one base object
    therefore both have the adapters of both, and a base that PEFT was given is no base any more.

    Raises:
        ValueError: naming the parts, and the module that they share.
    """
    _check_reference_is_bare(parts[0])
    owners: dict[int, tuple[Part, str]] = {}
    for part in parts:
        for name, module in _holders(part.base):
            owner, owner_name = owners.setdefault(id(module), (part, name))
            if owner is not part and not _are_one_peft_model(owner, part):
                where = f"their module {owner_name!r}" if owner_name else "one model"
                raise ValueError(
                    f"{owner.name!r} and {part.name!r} share {where}, so an adapter on one of them "
                    "changes the other: load each from disk by itself, or put the adapters on one "
                    "PEFT model and pass reference=None and adapters=[...]"
                )


def has_adapters(module: nn.Module) -> bool:
    """Return whether PEFT has put adapters into a model."""
    return any(isinstance(inside, BaseTunerLayer) for inside in module.modules())


def _check_reference_is_bare(reference: Part) -> None:
    """Refuse a base into which PEFT has put adapters, where the base itself is to be the reference.

    Models that transformers itself has given an adapter say so, and are meant to have it.
    """
    is_peft_model = reference.adapter is not None or reference.module is not reference.base
    if is_peft_model or getattr(reference.base, "_hf_peft_config_loaded", False):
        return
    if has_adapters(reference.base):
        raise ValueError(
            "PEFT has put adapters into the reference, so it is not the reference any more: load "
            "it once more, or pass reference=None and the PEFT model as aligned"
        )


def _are_one_peft_model(first: Part, second: Part) -> bool:
    """Return whether two parts are adapters of one PEFT model, or one of them its base."""
    both_adapted = first.adapter is not None and second.adapter is not None
    return both_adapted and first.module is second.module


def _holders(base: nn.Module) -> list[tuple[str, Any]]:
    """Return the model itself and the modules inside that hold weights, by name."""
    return [
        (name, module)
        for name, module in base.named_modules()
        if not name or module._parameters or isinstance(module, BaseTunerLayer)
    ]
