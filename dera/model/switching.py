"""Using a model that others use too as one part of a mixture, and leaving it as it was.

Two parts of one PEFT model differ in which adapter is on, which PEFT keeps in the model's layers.
A call that switches adapters therefore holds the model's lock until it has put everything back:
which adapters are on, what was merged, and which modules are in training mode. A call that changes
nothing lets the lock go before the model runs, so that such calls run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.mixed import MixedModel
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.other import AuxiliaryTrainingWrapper

from dera.model.modules import in_evaluation_mode, lock_of

if TYPE_CHECKING:
    from dera.model.parts import Part

#: Stands for no adapter at all. PEFT's adapter names are module names, which cannot hold a dot.
OFF = "adapter.off"


def used_as(part: Part, evaluates: bool) -> AbstractContextManager[None]:
    """Return a context in which the part's module is this part: its adapter is on, or all are off.

    It is to be entered at once.

    Args:
        part: the part.
        evaluates: whether the module is in evaluation mode meanwhile, so that nothing drops out.

    Raises:
        ValueError: on entering the context, if the part's adapter is gone, or if its PEFT model has
            no adapters any more.
    """
    with lock_of(part.base):
        found = part.surveyed.found()
        changes_mode = evaluates and bool(found.in_training_mode)
        if not (part.adapter or found.layers or found.rescales or changes_mode):
            # This call changes nothing, so that calls in other threads need not wait for it.
            return nullcontext()
    return _changed(part, evaluates)


@contextmanager
def _changed(part: Part, evaluates: bool) -> Iterator[None]:
    """Return a context of `used_as` in which other threads wait, because something is changed."""
    with lock_of(part.base), ExitStack() as stack:
        found = part.surveyed.found()
        if evaluates:
            stack.enter_context(in_evaluation_mode(found.in_training_mode))
        if part.adapter is not None:
            stack.enter_context(_switched(part, found.layers))
        yield


def _switched(part: Part, layers: Sequence[Any]) -> Any:
    """Return a context in which the part's adapter is on, or all adapters are off.

    Raises:
        ValueError: if the adapter is gone, or if there are no layers with adapters.
    """
    tuner = getattr(part.module, "base_model", None)
    kind: Any = type(tuner)
    is_tuner = isinstance(tuner, BaseTuner)
    present = list(part.module.peft_config)
    if is_tuner and not layers:
        raise ValueError(
            "the adapters were unloaded from the PEFT model, or merged into it for good, so its "
            "base need not be the reference any more: load the models again, and make a new "
            "RealignedModel"
        )
    if part.adapter not in (OFF, *present):
        raise ValueError(
            f"the PEFT model has no adapter {part.adapter!r} any more, which is the aligned model "
            f"{part.name!r}; it has {present}: load an adapter under that name, or make a new "
            "RealignedModel"
        )
    if is_tuner and _switches_layers_only(kind):
        return _switched_layers(part, layers)
    return part.module.disable_adapter() if part.adapter == OFF else _switched_by_peft(part)


@cache
def _switches_layers_only(tuner: Any) -> bool:
    """Return whether this kind of PEFT model is switched as most are: layer by layer."""
    methods = ("set_adapter", "enable_adapter_layers", "disable_adapter_layers")
    is_ordinary = all(getattr(tuner, name) is getattr(BaseTuner, name) for name in methods)
    return is_ordinary or issubclass(tuner, MixedModel)


@contextmanager
def _switched_by_peft(part: Part) -> Iterator[None]:
    """Let PEFT switch to the part's adapter and back."""
    before = part.module.active_adapter
    if before == part.adapter:
        yield
        return
    part.module.set_adapter(part.adapter)
    try:
        yield
    finally:
        part.module.set_adapter(before)


@contextmanager
def _switched_layers(part: Part, layers: Sequence[Any]) -> Iterator[None]:
    """Switch every layer, and put back what was on in each.

    PEFT's own `set_adapter` would also change which parameters are trained, and would not put back
    several active adapters.
    """
    # Remember what is on in the layers, and what the models around them say is on.
    is_off = part.adapter == OFF
    of_layers = [(layer, layer._active_adapter, layer._disable_adapters) for layer in layers]
    of_models = [
        (model, name, vars(model)[name])
        for model in (part.module, part.module.base_model)
        for name in ("active_adapter", "_adapters_disabled")
        if name in vars(model)
    ]
    with _unmerged(layers):
        try:
            for layer in layers:
                if not is_off:
                    layer._active_adapter = [part.adapter]
                layer._disable_adapters = is_off or _is_wrapper_without(layer, part.adapter)
            for model, name, value in of_models:
                new = is_off if name == "_adapters_disabled" else value if is_off else part.adapter
                setattr(model, name, new)
            yield
        finally:
            for layer, active, is_disabled in of_layers:
                layer._active_adapter, layer._disable_adapters = active, is_disabled
            for model, name, value in of_models:
                setattr(model, name, value)


def _is_wrapper_without(layer: Any, adapter: str | None) -> bool:
    """Return whether a layer is a module with trained copies, and has none of this adapter."""
    return isinstance(layer, AuxiliaryTrainingWrapper) and adapter not in layer._adapters


@contextmanager
def _unmerged(layers: Sequence[Any]) -> Iterator[None]:
    """Return a context without merged adapters. The merged weights then come back bit for bit."""
    merged = [
        (layer, list(layer.merged_adapters), _weights_of(layer))
        for layer in layers
        if layer.merged_adapters
    ]
    try:
        for layer, _, _ in merged:
            layer.unmerge()
        yield
    finally:
        with torch.no_grad():
            for layer, adapters, weights in merged:
                if not layer.merged_adapters:
                    layer.merge(adapter_names=adapters)
                for name, weight in layer.get_base_layer().named_parameters():
                    weight.data.copy_(weights[name])


def _weights_of(layer: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the weights of the base's layer inside one of PEFT's layers."""
    weights = layer.get_base_layer().named_parameters()
    return {name: weight.detach().clone() for name, weight in weights}
