"""The parts of a realigned model: whole models, or one base with adapters switched on and off."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

#: Stands for no adapter at all. PEFT's adapter names are module names, which cannot hold a dot.
OFF = "adapter.off"


@dataclass(frozen=True)
class Part:
    """One of the models whose logits are mixed.

    Attributes:
        name: the part's name in messages, and in a mapping `lam`.
        module: a transformers model, or a PEFT model.
        adapter: of a PEFT model, the adapter to switch on; `OFF` for its base alone; None to leave
            the model as it is.
    """

    name: str
    module: Any
    adapter: str | None = None

    @property
    def base(self) -> Any:
        """The transformers model itself, without the PEFT model around it."""
        if hasattr(self.module, "get_base_model"):
            return self.module.get_base_model()
        return self.module

    @property
    def config(self) -> Any:
        """The configuration of the transformers model."""
        return self.base.config

    @cached_property
    def known(self) -> frozenset[str]:
        """The names of the arguments of the model's forward."""
        return frozenset(inspect.signature(self.base.forward).parameters)

    def __call__(self, **inputs: Any) -> Any:
        """Call the model with those inputs that its forward knows (some take no position ids)."""
        with self.adapted():
            return self.run(**inputs)

    def run(self, **inputs: Any) -> Any:
        """Call the model within `adapted()`, which the caller enters once for many calls.

        Switching adapters may cost more than a call of a small model does.
        """
        return self.module(**self.known_of(inputs))

    def known_of(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs that the model's forward knows, on the model's device."""
        # The device is found by walking through the parameters, which takes time: look it up once.
        device = self.base.device
        return {
            name: self.here(value, device) for name, value in inputs.items() if name in self.known
        }

    def encode(self, **inputs: Any) -> torch.Tensor:
        """Return the last hidden state of an encoder-decoder's encoder.

        Args:
            **inputs: arguments for the encoder, which gets those that it knows.

        Returns:
            Shape (batch, time, hidden size).
        """
        encoder = self.base.get_encoder()
        known = inspect.signature(encoder.forward).parameters
        own = {name: self.here(value) for name, value in inputs.items() if name in known}
        with self.adapted():
            return encoder(**own).last_hidden_state

    def here(self, value: Any, device: torch.device | None = None) -> Any:
        """Move a tensor to this part's device, which need not be the device of the other parts.

        Other values are returned unchanged. Parts that are offloaded move their inputs themselves.

        Args:
            value: any argument of the model.
            device: the part's device, if the caller has looked it up.
        """
        device = device or self.base.device
        if isinstance(value, torch.Tensor) and device.type != "meta":
            return value.to(device)
        return value

    def adapted(self) -> Any:
        """Return a context in which the module is this part: its adapter is on, or all are off."""
        if self.adapter is None:
            return nullcontext()
        if self.adapter == OFF:
            return self.module.disable_adapter()
        return _switched_to(self.module, self.adapter)


@contextmanager
def _switched_to(module: Any, adapter: str) -> Iterator[None]:
    """A context in which a PEFT model's active adapter is this one."""
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
    """Return the reference, then the aligned models.

    Args and raised errors are as for `RealignedModel`.
    """
    if reference is not None and _is_base_of(reference, aligned):
        # PEFT has put the adapter into the reference itself, which is the base with the adapter off
        reference = None
    if reference is None:
        parts = _parts_of_one_base(aligned, adapters)
    else:
        parts = _parts_of_whole_models(reference, aligned, adapters)
    _check_attention(parts)
    return parts


def named(aligned: Any) -> dict[str, Any]:
    """Return aligned models, or their paths, by name.

    A mapping gives the names itself. The models of a sequence are called "0", "1", ..., and a
    single model is called "aligned".

    Raises:
        ValueError: if there is no model.
    """
    if isinstance(aligned, Mapping):
        models = dict(aligned)
    elif isinstance(aligned, Sequence) and not isinstance(aligned, str):
        models = {str(index): model for index, model in enumerate(aligned)}
    else:
        models = {"aligned": aligned}
    if not models:
        raise ValueError("at least one aligned model is needed, and none was given")
    return models


def check_one_kind(parts: Sequence[Part]) -> None:
    """Refuse to mix encoder-decoders with decoder-only models.

    Raises:
        ValueError: naming the kind of each part.
    """
    kinds = {part.name: _kind(part) for part in parts}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f"the models must be of one kind, got {kinds}: "
            "their next-token logits are about different texts"
        )


def _kind(part: Part) -> str:
    return "encoder-decoder" if part.config.is_encoder_decoder else "decoder-only"


def _parts_of_one_base(aligned: Any, adapters: list[str] | None) -> list[Part]:
    """The base of a PEFT model, then its adapters."""
    if not hasattr(aligned, "disable_adapter"):
        raise ValueError(
            "reference may be None only when aligned is a PEFT model, "
            "whose base is then the reference"
        )
    names = _adapters_to_mix(aligned, adapters)
    return [Part("reference", aligned, OFF), *(Part(name, aligned, name) for name in names)]


def _parts_of_whole_models(reference: Any, aligned: Any, adapters: list[str] | None) -> list[Part]:
    """The reference, then aligned models that do not share their weights with it."""
    modules = named(aligned)
    if adapters:
        raise ValueError(
            "adapters= is for one PEFT model whose base is the reference: "
            "pass reference=None with it"
        )
    for name, module in modules.items():
        if _is_base_of(reference, module):
            raise ValueError(
                f"the aligned model {name!r} is a PEFT model on the reference itself, which its "
                "adapter changes: load the reference once more, or pass reference=None and "
                "adapters=[...]"
            )
    return [Part("reference", reference), *(Part(name, m) for name, m in modules.items())]


def _is_base_of(reference: Any, aligned: Any) -> bool:
    """Whether an aligned model is a PEFT model on the reference itself."""
    return hasattr(aligned, "disable_adapter") and aligned.get_base_model() is reference


def _check_attention(parts: Sequence[Part]) -> None:
    """Refuse models whose state is not a cache of keys and values (RWKV, Mamba).

    Such a state can be neither padded nor reordered here.
    """
    without = [part.name for part in parts if "past_key_values" not in part.known]
    if without:
        raise ValueError(
            f"{without} keep no past_key_values: only models with attention can be mixed"
        )


def _adapters_to_mix(module: Any, adapters: list[str] | None) -> list[str]:
    """The adapters of a PEFT model that are mixed: those named, or its only one.

    Raises:
        ValueError: if one is unknown, or if none is named and the model has several.
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
