"""The adapter (LoRA) that an alignment trains, or SFT where the config asks for it."""

from __future__ import annotations

from peft import LoraConfig

from study.job import settings_class


@settings_class
class LoraSettings:
    """A section `lora` of the config."""

    rank: int
    alpha: int
    target_modules: str | list[str]


def lora_config(settings: LoraSettings) -> LoraConfig:
    """Return PEFT's configuration of the adapter."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
