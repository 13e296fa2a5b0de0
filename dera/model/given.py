"""What is given in place of a language model: it is unwrapped where that is right, or refused."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase

#: Wrappers that keep parts of the weights on other processes, by the names of their classes.
SHARDED = ("FullyShardedDataParallel", "DeepSpeedEngine")


def language_model(given: Any, name: str) -> Any:
    """Return the language model that was given: a transformers model or a PEFT model.

    Compiled models, models that are wrapped for training on several devices, and TRL's models with
    a value head are taken for the model inside. Its logits are the same.

    Args:
        given: what the user gave.
        name: what messages call the model, such as "aligned".

    Raises:
        TypeError: if there is no model.
        ValueError: if the model does not predict next tokens, or cannot be had whole.
    """
    model = _unwrapped(given, name)
    is_peft_model = hasattr(model, "get_base_model") and not isinstance(model, type)
    base: Any = model.get_base_model() if is_peft_model else model
    if not isinstance(base, PreTrainedModel):
        raise TypeError(_not_a_model(base, name))
    if not base.can_generate():
        raise ValueError(
            f"{name!r} is a {type(base).__name__}, which does not predict next tokens: give the "
            "language model itself, as AutoModelForCausalLM.from_pretrained loads it (models "
            "without a head, reward models and classifiers are none)"
        )
    if hasattr(base, "part_modules"):
        raise ValueError(
            f"{name!r} is a realigned model, which mixes two models already: give its parts, or "
            "several aligned models to one RealignedModel"
        )
    return model


def _unwrapped(given: Any, name: str) -> Any:
    """Return what is inside wrappers that leave the logits as they are."""
    kind = type(given).__name__
    if kind in SHARDED:
        raise ValueError(
            f"{name!r} is a {kind}, which may keep weights on other processes: save the model with "
            "the trainer's save_model, and load the folder with RealignedModel.from_pretrained"
        )
    # torch.compile
    if isinstance(getattr(given, "_orig_mod", None), nn.Module):
        warnings.warn(
            f"{name!r} is compiled by itself, and is mixed uncompiled: compile the RealignedModel",
            stacklevel=5,
        )
        return _unwrapped(given._orig_mod, name)
    if isinstance(given, (DataParallel, DistributedDataParallel)):
        return _unwrapped(given.module, name)
    # TRL's model with a value head.
    if isinstance(given, nn.Module) and hasattr(given, "v_head"):
        inner = getattr(given, "pretrained_model", None)
        return given if inner is None else _unwrapped(inner, name)
    return given


def _not_a_model(given: Any, name: str) -> str:
    """Return what is wrong with something that is no model of transformers, and a remedy."""
    kind = type(given).__name__
    if isinstance(given, (str, PathLike)):
        return (
            f"{name!r} is a path, {str(given)!r}, and RealignedModel takes models that are loaded: "
            "use RealignedModel.from_pretrained(reference, aligned)"
        )
    if isinstance(given, PreTrainedTokenizerBase):
        return (
            f"{name!r} is a tokenizer, {kind}: give the model here, and the tokenizer as tokenizer="
        )
    if isinstance(given, Pipeline):
        return f"{name!r} is a pipeline, {kind}: give the model inside, which is its .model"
    if isinstance(given, type):
        return (
            f"{name!r} is the class {given.__name__} and no model: give what its from_pretrained "
            "returns"
        )
    return (
        f"{name!r} is a {kind}, which is no model of transformers or PEFT: give what "
        "AutoModelForCausalLM.from_pretrained returns"
    )
