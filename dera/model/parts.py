"""The models a realigned model is made of: whole models, or one base with PEFT adapters switched on and off."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True)
class Part:
    """One of the models whose logits are mixed.

    Attributes:
        name: what messages and a mapping `lam` call it.
        module: a transformers model, or a PEFT model.
        adapter: of a PEFT model, the adapter to switch on; `OFF` for its base alone; None to leave it as it is.
    """

    name: str
    module: Any
    adapter: str | None = None

    @property
    def base(self) -> Any:
        """The transformers model itself, without the PEFT model around it."""
        return (
            self.module.get_base_model() if hasattr(self.module, "get_base_model") else self.module
        )

    @property
    def config(self) -> Any:
        return self.base.config

    @cached_property
    def known(self) -> frozenset[str]:
        """The arguments of the model's forward."""
        return frozenset(inspect.signature(self.base.forward).parameters)

    def __call__(self, **inputs: Any) -> Any:
        """Call the model with those of `inputs` that its forward knows (some take no position ids)."""
        with self.adapted():
            return self.run(**inputs)

    def run(self, **inputs: Any) -> Any:
        """As a call, but within `adapted()`, which for a small model may cost more than the call does: enter it once for many."""
        return self.module(**self.known_of(inputs))

    def known_of(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Those of the inputs that the model's forward knows, on its device."""
        device = (
            self.base.device
        )  # found by walking through the parameters, which for a small model takes its time
        return {
            name: self.here(value, device) for name, value in inputs.items() if name in self.known
        }

    def encode(self, **inputs: Any) -> torch.Tensor:
        """The last hidden state of an encoder-decoder's encoder, shape (batch, time, hidden)."""
        encoder = self.base.get_encoder()
        known = inspect.signature(encoder.forward).parameters
        with self.adapted():
            return encoder(
                **{name: self.here(value) for name, value in inputs.items() if name in known}
            ).last_hidden_state

    def here(self, value: Any, device: torch.device | None = None) -> Any:
        """A tensor on this part's device, which need not be that of the others; offloaded parts move their inputs themselves."""
        device = device or self.base.device
        return (
            value.to(device) if isinstance(value, torch.Tensor) and device.type != "meta" else value
        )

    def adapted(self) -> Any:
        """A context in which the module is this part: its adapter on, or all off."""
        if self.adapter is None:
            return nullcontext()
        return (
            self.module.disable_adapter()
            if self.adapter == OFF
            else _switched_to(self.module, self.adapter)
        )


#: Stands for no adapter at all; PEFT's adapter names are module names, which cannot hold a dot.
OFF = "adapter.off"


@contextmanager
def _switched_to(module: Any, adapter: str) -> Iterator[None]:
    before = module.active_adapter
    if before == adapter:
        yield
        return
    module.set_adapter(adapter)
    try:
        yield
    finally:
        module.set_adapter(before)


def parts_of(reference: Any, aligned: Any, adapters: list[str] | None) -> list[Part]:
    """The reference, then the aligned models; arguments and errors as `RealignedModel`'s."""
    if reference is not None and _is_base_of(reference, aligned):
        reference = None  # PEFT has put the adapter into the reference itself: it is the base with the adapter off
    if reference is None:
        if not hasattr(aligned, "disable_adapter"):
            raise ValueError(
                "reference may be None only when aligned is a PEFT model, whose base is then the reference"
            )
        names = _check_adapters(aligned, adapters)
        return _with_attention(
            [Part("reference", aligned, OFF), *(Part(name, aligned, name) for name in names)]
        )
    modules = named(aligned)
    if adapters:
        raise ValueError(
            "adapters= is for one PEFT model whose base is the reference: pass reference=None with it"
        )
    for name, module in modules.items():
        if _is_base_of(reference, module):
            raise ValueError(
                f"the aligned model {name!r} is a PEFT model on the reference itself, which its adapter changes: "
                "load the reference once more, or pass reference=None and adapters=[...]"
            )
    return _with_attention(
        [Part("reference", reference), *(Part(name, module) for name, module in modules.items())]
    )


def named(aligned: Any) -> dict[str, Any]:
    """Aligned models, or their paths, by name: as given, by number, or "aligned" for a single one.

    Raises:
        ValueError: if there is none.
    """
    if isinstance(aligned, Mapping):
        found = dict(aligned)
    elif isinstance(aligned, Sequence) and not isinstance(aligned, str):
        found = {str(i): one for i, one in enumerate(aligned)}
    else:
        found = {"aligned": aligned}
    if not found:
        raise ValueError("at least one aligned model is needed")
    return found


def _is_base_of(reference: Any, aligned: Any) -> bool:
    return hasattr(aligned, "disable_adapter") and aligned.get_base_model() is reference


def _with_attention(parts: list[Part]) -> list[Part]:
    """The parts; refuses models whose state is not a cache of keys and values (RWKV, Mamba): it can be neither padded nor reordered here."""
    without = [part.name for part in parts if "past_key_values" not in part.known]
    if without:
        raise ValueError(
            f"{without} keep no past_key_values: only models with attention can be mixed"
        )
    return parts


def _check_adapters(module: Any, adapters: list[str] | None) -> list[str]:
    """The adapters of a PEFT model to mix: those named, or its only one.

    Raises:
        ValueError: if one is unknown, or none is named and the model has several.
    """
    present = list(module.peft_config)
    unknown = [name for name in adapters or [] if name not in present]
    if unknown:
        raise ValueError(f"the PEFT model has no adapter {unknown}: it has {present}")
    if adapters:
        return list(adapters)
    if len(present) > 1:
        raise ValueError(
            f"the PEFT model has several adapters {present}: name those to mix with adapters=[...]"
        )
    return present
