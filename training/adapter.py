"""The adapter (LoRA) that an alignment trains, or SFT where the config asks for it."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from study.job import settings_class


@settings_class
class LoraSettings:
    """A section `lora` of the config.

    `first_block` is the lowest block that gets an adapter. Nothing has to be sent back through the
    blocks below it, so training takes less time and memory.
    """

    rank: int
    alpha: int
    target_modules: str | list[str]
    first_block: int = 0


def lora_config(settings: LoraSettings, model: Any) -> LoraConfig:
    """Return PEFT's configuration of the adapter.

    Args:
        settings: the section `lora`.
        model: the model that gets the adapter.

    Raises:
        ValueError: if the model has no block of the number `first_block`.
    """
    modules: dict[str, Any] = {"target_modules": settings.target_modules}
    if settings.first_block > 0:
        modules = _modules_from_block(settings, model)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        task_type="CAUSAL_LM",
        **modules,
    )


def _modules_from_block(settings: LoraSettings, model: Any) -> dict[str, Any]:
    """Return the arguments that name the modules of the first block and those above it.

    PEFT chooses blocks by their number only where modules are named one by one. So "all-linear" is
    spelt out.
    """
    blocks = model.config.get_text_config().num_hidden_layers
    if settings.first_block >= blocks:
        raise ValueError(
            f"lora.first_block = {settings.first_block}: the model has {blocks} blocks, of which "
            f"the lowest is 0, so it must be less than {blocks}"
        )
    names = settings.target_modules
    if names == "all-linear":
        # The blocks are alike, and modules outside them (the head) have no number in their names.
        in_block = f".{settings.first_block}."
        linear = set()
        for name, module in model.named_modules():
            if in_block in name and isinstance(module, (nn.Linear, Conv1D)):
                linear.add(name.rpartition(".")[2])
        names = sorted(linear)
    return {
        "target_modules": names,
        "layers_to_transform": list(range(settings.first_block, blocks)),
    }
