"""When one pass can be used: for which models and adapters it gives the same logits as PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from dera.model.parts import OFF, Part
from dera.speculative.unsupported import window_of


def can_run_in_one_pass(parts: Sequence[Part]) -> bool:
    """Return whether `OnePass` can be built for these parts.

    The parts must be one decoder-only PEFT model. Its adapters must be plain LoRA on linear layers
    of the decoder's blocks or of its head. Every layer must cache keys and values.
    """
    return (
        are_one_decoder(parts)
        and _all_adapters_are_lora(parts)
        and not _has_replaced_modules(parts[0].base)
        and caches_keys_and_values(parts[0])
        and _adapts_linear_layers_of_blocks(parts[0].base)
    )


def are_one_decoder(parts: Sequence[Part]) -> bool:
    """Return whether all parts are one PEFT model that reads text only."""
    base = parts[0].base
    share_a_model = all(part.module is parts[0].module and part.adapter for part in parts)
    if not share_a_model or base.config.is_encoder_decoder:
        return False
    return base.config.get_text_config() is base.config


def decoder_layers(base: Any) -> list[nn.Module]:
    """Return the blocks of a decoder from the lowest up; an empty list if they are not found."""
    for module in base.modules():
        if isinstance(module, nn.ModuleList) and len(module) == base.config.num_hidden_layers:
            return list(module)
    return []


def caches_keys_and_values(part: Part) -> bool:
    """Return whether no layer of the model keeps anything else than keys and values."""
    try:
        window_of(part)
    except TypeError:
        return False
    return True


def _all_adapters_are_lora(parts: Sequence[Part]) -> bool:
    adapters = [part.adapter for part in parts if part.adapter != OFF]
    configs = parts[0].module.peft_config
    return all(name in configs and configs[name].peft_type == "LORA" for name in adapters)


def _has_replaced_modules(base: Any) -> bool:
    """Return whether a module has a forward of its own, or was replaced by a trained copy.

    Such a forward (as libraries set it that keep weights elsewhere) would go on using the modules
    it was made for, and not the copies that `OnePass` makes.
    """
    return any(
        "forward" in vars(module) or isinstance(module, AuxiliaryTrainingWrapper)
        for module in base.modules()
    )


def _adapts_linear_layers_of_blocks(base: Any) -> bool:
    """Return whether every adapter is plain LoRA on a linear layer of a block, or on the head.

    A PEFT model without adapters, from which they were unloaded, has none.
    """
    layers = decoder_layers(base)
    head = base.get_output_embeddings()
    in_blocks: set[int] = set()
    for layer in layers:
        in_blocks |= {id(m) for name, m in layer.named_modules() if not _is_in_list(layer, name)}
    tuned = [module for module in base.modules() if isinstance(module, BaseTunerLayer)]
    return bool(layers and tuned) and all(
        _is_plain_lora(module) and (id(module) in in_blocks or module is head) for module in tuned
    )


def is_lora_on_linear(module: Any) -> bool:
    """Return whether a module is PEFT's LoRA on a linear layer, whose weights may be quantised.

    PEFT's layers for weights that bitsandbytes quantised can only be imported where that library is
    installed, so they are told by their module.
    """
    return isinstance(module, LoraLinear) or _is_on_quantised(module)


def _is_on_quantised(module: Any) -> bool:
    return type(module).__module__ == "peft.tuners.lora.bnb"


def _is_plain_lora(module: Any) -> bool:
    """Return whether PEFT's layer is LoRA on a linear layer, without a variant (DoRA) or biases."""
    return (
        (type(module) is LoraLinear or _is_on_quantised(module))
        and not module.lora_variant
        and not any(module.lora_bias.values())
    )


def _is_in_list(layer: nn.Module, name: str) -> bool:
    """Return whether a module of a block is in a list, as experts are. They see some rows only."""
    names = name.split(".")
    parents = [".".join(names[:depth]) for depth in range(1, len(names))]
    return any(isinstance(layer.get_submodule(parent), nn.ModuleList) for parent in parents)
