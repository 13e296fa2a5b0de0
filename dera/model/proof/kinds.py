"""Kinds of adapters that cannot be mixed, told from their configuration.

Some adapters rewrite the base when they are made, so the base with its adapters off is another
model than the reference. Some do their work in PEFT's own `generate`, so a cached step of the model
alone does not see them. Some cannot be restored from what PEFT saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft import PeftConfig

#: What follows the name of an adapter that a cached step does not see.
_ONLY_IN_GENERATE = (
    "does its work in PEFT's own generate, so a cached step of the mixture would not see it"
)

#: What follows the name of a kind of adapter that needs more than the tokens.
_NEEDS_MORE = {
    "XLORA": "reads every text twice and cannot decode with a cache",
    "POLY": "needs task_ids, which the mixture does not hand to it",
}

#: LoRA's ways to begin that subtract something from the weights of the base.
_SUBTRACTING = ("pissa", "olora", "corda", "loftq", "lora_ga")

#: Those that PEFT cannot begin again from the saved adapter, because they were drawn at random or
#: computed from data. PEFT then puts the adapter on a base that it was not trained on.
_NOT_REPEATED = ("pissa_niter", "corda", "lora_ga")


def check_kinds_in_memory(configs: Mapping[str, PeftConfig], base: Any, keeps_base: bool) -> None:
    """Refuse the adapters of a PEFT model that cannot be mixed.

    Args:
        configs: the configurations of all adapters that the PEFT model holds, by name.
        base: the transformers model inside.
        keeps_base: whether the base with its adapters off is the reference.

    Raises:
        ValueError: naming the adapter, its kind, the cause, and a remedy.
    """
    for name, config in configs.items():
        who = f"the adapter {name!r}"
        _check_needs_no_more(config, who)
        change = _change_of_base(config, base)
        if keeps_base and change is not None:
            raise ValueError(
                f"{who} is {change}, so the base with its adapters off is not the reference: "
                "load the reference once more and pass it too, RealignedModel(reference, "
                "peft_model)"
            )


def check_kind_on_disk(path: str, keeps_base: bool) -> None:
    """Refuse a saved adapter that cannot be mixed, before any weights are loaded.

    Args:
        path: the adapter's folder.
        keeps_base: whether the base with its adapters off is the reference.

    Raises:
        ValueError: naming the adapter, its kind, the cause, and a remedy.
    """
    config = PeftConfig.from_pretrained(path)
    who = f"the adapter {path}"
    _check_needs_no_more(config, who)
    beginning = _beginning_of(config)
    if beginning.startswith(_NOT_REPEATED):
        raise ValueError(
            f"{who} is {kind_of(config)}, which PEFT cannot begin again from what is saved, so "
            "neither its base nor the adapter is what was trained: save it from training as plain "
            "LoRA, save_pretrained(..., path_initial_model_for_weight_conversion=...) with the "
            "adapter as it was before training"
        )
    change = _change_of_base(config, None)
    if keeps_base and change is not None:
        raise ValueError(
            f"{who} is {change}, so the base with the adapter off is not the reference: load it "
            "with merge_adapter=True, which keeps a second copy"
        )


def kind_of(config: Any) -> str:
    """Return what an adapter is called in messages, such as "LORA begun with pissa"."""
    kind = getattr(config.peft_type, "value", str(config.peft_type))
    beginning = _beginning_of(config)
    return f"{kind} begun with {beginning}" if beginning else kind


def _check_needs_no_more(config: Any, who: str) -> None:
    """Refuse adapters that need more than a call of the model with the next tokens."""
    kind = kind_of(config)
    if config.is_prompt_learning:
        reason = _ONLY_IN_GENERATE
    elif getattr(config, "alora_invocation_tokens", None):
        kind, reason = "an activated LoRA (aLoRA)", _ONLY_IN_GENERATE
    elif kind in _NEEDS_MORE:
        reason = _NEEDS_MORE[kind]
    else:
        return
    remedy = "align with an adapter on the layers, such as LoRA"
    if kind == "PREFIX_TUNING":
        remedy += ", or decode with use_cache=False after check=False"
    raise ValueError(f"{who} is {kind}, which {reason}: {remedy}")


def _beginning_of(config: Any) -> str:
    """Return LoRA's way to begin if it subtracts something from the base, and else nothing."""
    beginning = str(getattr(config, "init_lora_weights", "")).lower()
    return beginning if beginning.startswith(_SUBTRACTING) else ""


def _change_of_base(config: Any, base: Any) -> str | None:
    """Return the kind of an adapter that changes its base, with the change; None for others.

    Biases are trained in the base itself. Where the base is known and has none, none is changed.
    """
    if _beginning_of(config):
        return f"{kind_of(config)}, which subtracts its first weights from those of the base"
    if getattr(config, "layer_replication", None):
        return f"{kind_of(config)} with layer_replication, which gives the base more layers"
    bias = getattr(config, "bias", "none")
    is_kept = bias in ("none", None, False)
    if base is None or is_kept or not _has_biases(base):
        return None
    return f"{kind_of(config)} with bias={bias!r}, which trains biases of the base itself"


def _has_biases(base: Any) -> bool:
    """Return whether a linear layer of the base has a bias of its own."""
    return any(
        name.endswith("bias") and "lora_" not in name and "norm" not in name
        for name, _ in base.named_parameters()
    )
