"""A part of a realigned model: a whole model, or a base with an adapter switched on or off."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from dera.model.modules import Surveyed
from dera.model.switching import OFF, used_as


@dataclass(frozen=True)
class Part:
    """One of the models whose logits are mixed.

    Attributes:
        name: the part's name in messages, and in a mapping `lam`.
        module: a transformers model, or a PEFT model.
        adapter: of a PEFT model, PEFT's name of the adapter to switch on; `OFF` for its base alone;
            None to leave the model as it is.
    """

    name: str
    module: Any
    adapter: str | None = None

    @cached_property
    def base(self) -> Any:
        """The transformers model itself, without the PEFT model around it.

        It is looked up once, because PEFT cannot tell it after its last adapter was deleted.
        """
        if hasattr(self.module, "get_base_model"):
            return self.module.get_base_model()
        return self.module

    @property
    def config(self) -> Any:
        """The configuration of the transformers model."""
        return self.base.config

    @cached_property
    def surveyed(self) -> Surveyed:
        """The module, to be looked through at every call."""
        return Surveyed(self.module)

    @cached_property
    def known(self) -> frozenset[str]:
        """The names of the arguments of the model's forward.

        Many models take the requests for hidden states and attentions without naming them.
        """
        parameters = inspect.signature(self.base.forward).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return frozenset(parameters) | {"output_hidden_states", "output_attentions"}
        return frozenset(parameters)

    def __call__(self, **inputs: Any) -> Any:
        """Call the model with the inputs that its forward knows. Some take no position ids."""
        with self.adapted():
            return self.run(**inputs)

    def run(self, **inputs: Any) -> Any:
        """Call the model within `adapted()`, which the caller enters once for many calls.

        Switching adapters may cost more than a call of a small model does.
        """
        module = self.base if self.adapter == OFF else self.module
        return module(**self.known_of(inputs))

    def known_of(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs that the model's forward knows, on the model's device."""
        # The device is found by walking through the parameters, which takes time: look it up once.
        device = self.base.device
        return {
            name: self.on_device(value, device)
            for name, value in inputs.items()
            if name in self.known
        }

    def encode(self, evaluates: bool = True, **inputs: Any) -> torch.Tensor:
        """Return the last hidden state of an encoder-decoder's encoder.

        Args:
            evaluates: as for `adapted`.
            **inputs: arguments for the encoder, which gets those that it knows.

        Returns:
            Shape (batch, time, hidden size).
        """
        encoder = self.base.get_encoder()
        known = inspect.signature(encoder.forward).parameters
        encoder_inputs = {
            name: self.on_device(value) for name, value in inputs.items() if name in known
        }
        with self.adapted(evaluates):
            return encoder(**encoder_inputs).last_hidden_state

    def on_device(self, value: Any, device: torch.device | None = None) -> Any:
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

    def adapted(self, evaluates: bool = True) -> Any:
        """Return a context in which the module is this part: its adapter is on, or all are off.

        When it ends, the module is as it was. Other threads that use the module wait meanwhile if
        anything has to be changed.

        Args:
            evaluates: whether the module is in evaluation mode meanwhile.

        Raises:
            ValueError: on entering the context, if the adapter is gone.
        """
        return used_as(self, evaluates)
