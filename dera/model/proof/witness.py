"""A witness of a model: what it said before an adapter was put on it, or merged into it."""

from __future__ import annotations

from typing import Any

from peft import PeftModel
from torch import Tensor, nn

from dera.model.proof.closeness import error_of, tolerance_of
from dera.model.proof.kinds import kind_of
from dera.model.proof.text import at_rest, decoder_start_of, plain_tokens, reason_not_to_read

#: How many entries of each weight are kept for comparison.
SAMPLES = 16

#: What PEFT puts into the names of the base's weights.
_PUT_IN = (".base_layer", ".original_module", ".token_adapter")


class Witness:
    """Remembers some logits and some weights of a model, and compares them with later ones.

    Args:
        model: a transformers model; or a PEFT model with one adapter, which is on.
    """

    def __init__(self, model: Any):
        base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        self.base = base
        self.reads = reason_not_to_read([self.base]) is None and not _breaks_if_read(self.base)
        if not self.reads:
            return
        ids = plain_tokens([self.base]).to(self.base.device)
        self.inputs = {"input_ids": ids}
        if self.base.config.is_encoder_decoder:
            start = ids.new_full((1, 1), decoder_start_of(self.base))
            self.inputs["decoder_input_ids"] = start
        self.logits = self._logits_of(model)
        self.weights = _samples_of(self.base)

    def check_base_is_kept(self, model: PeftModel, reference: str, paths: dict[str, str]) -> None:
        """Refuse adapters that have changed the base on which they were put.

        Args:
            model: the PEFT model that was made of the base.
            reference: the path of the base, for messages.
            paths: the adapters' paths, by the names that they have in `model`.

        Raises:
            ValueError: naming the adapters, their kind, and a layer that they changed.
        """
        if not self.reads:
            return
        changed = self._changed_weights(model)
        with model.disable_adapter():
            error = error_of(self._logits_of(model), self.logits)
        if not changed and error <= tolerance_of([self.base]):
            return
        kinds = [f"{path} ({kind_of(model.peft_config[name])})" for name, path in paths.items()]
        what = f"its weight {changed[0]}" if changed else f"its logits by {error:.2g}"
        raise ValueError(
            f"putting the adapters {kinds} on {reference} has changed it ({what}), so with them "
            "off it is not the reference: load them with merge_adapter=True, which keeps a second "
            "copy"
        )

    def check_merged(self, merged: Any, path: str, kind: str) -> None:
        """Refuse a model into which an adapter was merged, and which differs from the adapter.

        Raises:
            ValueError: naming the adapter, its kind, and how far the two differ.
        """
        if not self.reads:
            return
        error = error_of(self._logits_of(merged), self.logits)
        # A merge rounds the weights once more. The tolerance is coarse where they are quantised.
        if error > tolerance_of([merged]):
            raise ValueError(
                f"the adapter {path} ({kind}) is not what it was after it is merged: its logits "
                f"are off by {error:.2g} of their spread. Load it with PEFT, and pass the PEFT "
                "model and the reference, RealignedModel(reference, peft_model)"
            )

    def _logits_of(self, model: Any) -> Tensor:
        with at_rest([model]):
            return model(**self.inputs, use_cache=False).logits

    def _changed_weights(self, model: PeftModel) -> list[str]:
        """Return the names of the base's weights that are not what they were."""
        now = _samples_of(model.get_base_model())
        return [
            name
            for name, before in self.weights.items()
            if name in now and not (before == now[name].to(before.device)).all()
        ]


def _breaks_if_read(base: Any) -> bool:
    """Return whether a base must not be read before PEFT has put an adapter on it.

    On a CPU bitsandbytes (0.50) packs 4-bit weights in another way when they are first used. If the
    weights are listed after that, as PEFT does to load an adapter, they are unpacked wrongly.
    """
    return any(
        type(parameter).__name__ == "Params4bit" and parameter.device.type == "cpu"
        for parameter in base.parameters()
    )


def merged_by_itself(model: PeftModel, path: str, check: bool) -> Any:
    """Merge the only adapter of a PEFT model into its base, and return the base.

    Layers that share a weight with another module, as a tied head does, first get a weight of
    their own: a merge into a shared weight would change the other module too.

    Args:
        model: the PEFT model, which is used up.
        path: the adapter's path, for messages.
        check: whether the merged model is compared with the adapter.

    Raises:
        ValueError: if the adapter cannot be merged, or is something else when it is merged.
    """
    kind = kind_of(next(iter(model.peft_config.values())))
    witness = Witness(model) if check else None
    _untie_adapted_layers(model)
    try:
        merged = model.merge_and_unload()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ValueError(
            f"the adapter {path} ({kind}) cannot be merged ({error}): load it with PEFT, and pass "
            "the PEFT model and the reference, RealignedModel(reference, peft_model)"
        ) from error
    if witness is not None:
        witness.check_merged(merged, path, kind)
    return merged


def _untie_adapted_layers(model: PeftModel) -> None:
    """Give adapted layers a weight of their own where other modules use it too."""
    # Count the modules that use each weight.
    base: Any = model.get_base_model()
    users: dict[int, int] = {}
    for module in base.modules():
        for weight in module._parameters.values():
            users[id(weight)] = users.get(id(weight), 0) + 1

    # Copy the weights that an adapter is merged into and that have several users.
    for module in base.modules():
        layer: Any = getattr(module, "base_layer", None)
        tied: Any = getattr(layer, "weight", None)
        is_shared = isinstance(tied, nn.Parameter) and users.get(id(tied), 0) > 1
        if is_shared and tied.is_floating_point():
            layer.weight = nn.Parameter(tied.detach().clone(), requires_grad=False)
            base.config.tie_word_embeddings = False


def _samples_of(base: Any) -> dict[str, Tensor]:
    """Return a few entries of each weight of a base, by the name that it has without adapters."""
    samples = {}
    for name, parameter in base.named_parameters(remove_duplicate=False):
        for put_in in _PUT_IN:
            name = name.replace(put_in, "")
        flat = parameter.detach().reshape(-1)
        samples[name] = flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES].clone()
    return samples
