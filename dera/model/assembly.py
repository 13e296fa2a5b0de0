"""Which parts a realigned model has: the reference and its aligned models, from the arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dera.model.given import language_model
from dera.model.parts import OFF, Part
from dera.model.refusals import check_families

#: The names of adapters, or a mapping to them from the names of the aligned models.
Adapters = Sequence[str] | Mapping[str, str] | None


def parts_of(reference: Any, aligned: Any, adapters: Adapters) -> list[Part]:
    """Return the reference, then the aligned models.

    The arguments and the errors are those of `RealignedModel`.
    """
    models = {name: language_model(model, name) for name, model in named(aligned).items()}
    only = next(iter(models.values())) if len(models) == 1 else None
    if isinstance(reference, str) and hasattr(only, "disable_adapter"):
        parts = _parts_of_adapters(reference, only, adapters)
        check_families(parts)
        return parts
    if reference is not None:
        reference = language_model(reference, "reference")
    if reference is not None and only is not None and _is_base_of(reference, only):
        # PEFT has put the adapter into the reference itself. The base with the adapter off is then
        # the reference.
        reference = None
    if reference is None:
        parts = _parts_of_one_base(only, adapters)
    else:
        parts = _parts_of_whole_models(reference, models, adapters)
    check_families(parts)
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


def _parts_of_adapters(reference: str, aligned: Any, adapters: Adapters) -> list[Part]:
    """Return the adapter of a PEFT model that is the reference, then its other adapters."""
    present = list(aligned.peft_config)
    if reference not in present:
        raise ValueError(
            f"the reference {reference!r} is not an adapter of the PEFT model, which has "
            f"{present}: name one of these, or load folders with RealignedModel.from_pretrained"
        )
    others = [name for name in present if name != reference]
    if not others:
        raise ValueError(
            f"the PEFT model has no adapter but the reference {reference!r}: load the aligned "
            "adapter too, with load_adapter(path, adapter_name=...)"
        )
    names = _adapters_to_mix(aligned, adapters, others)
    if reference in names.values():
        raise ValueError(
            f"the adapter {reference!r} is both the reference and in adapters={adapters}: "
            "leave it out of one"
        )
    aligned_parts = [Part(name, aligned, adapter) for name, adapter in names.items()]
    return [Part(_reference_name(names), aligned, reference), *aligned_parts]


def _parts_of_one_base(aligned: Any, adapters: Adapters) -> list[Part]:
    """Return the base of a PEFT model, then its adapters."""
    if not hasattr(aligned, "disable_adapter"):
        raise ValueError(
            "reference may be None only when aligned is a PEFT model, "
            "whose base is then the reference"
        )
    names = _adapters_to_mix(aligned, adapters, list(aligned.peft_config))
    aligned_parts = [Part(name, aligned, adapter) for name, adapter in names.items()]
    return [Part(_reference_name(names), aligned, OFF), *aligned_parts]


def _parts_of_whole_models(
    reference: Any, modules: dict[str, Any], adapters: Adapters
) -> list[Part]:
    """Return the reference, then aligned models that do not share their weights with it."""
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
    aligned_parts = [Part(name, module) for name, module in modules.items()]
    return [Part(_reference_name(modules), reference), *aligned_parts]


def _reference_name(aligned: Mapping[str, Any]) -> str:
    """Return the reference's name in messages, which is no aligned model's name."""
    return "the reference" if "reference" in aligned else "reference"


def _is_base_of(reference: Any, aligned: Any) -> bool:
    """Return whether an aligned model is a PEFT model on the reference itself."""
    return hasattr(aligned, "disable_adapter") and aligned.get_base_model() is reference


def _adapters_to_mix(module: Any, adapters: Adapters, candidates: list[str]) -> dict[str, str]:
    """Return the adapters of a PEFT model that are mixed: the named ones, or the only candidate.

    Returns:
        PEFT's name of each adapter, by the name of the aligned model.

    Raises:
        ValueError: if a named adapter is unknown, or if none is named and there is more than one
            candidate, or none.
    """
    present = list(module.peft_config)
    if not adapters:
        if len(candidates) == 1:
            return {candidates[0]: candidates[0]}
        if not candidates:
            raise ValueError("the PEFT model has no adapter: load one into it with load_adapter")
        raise ValueError(
            f"the PEFT model has several adapters {candidates}: name those to mix with "
            "adapters=[...]"
        )
    if isinstance(adapters, str):
        adapters = [adapters]
    named_adapters = dict(adapters) if isinstance(adapters, Mapping) else {a: a for a in adapters}
    unknown = [adapter for adapter in named_adapters.values() if adapter not in present]
    if unknown:
        raise ValueError(f"the PEFT model has no adapter {unknown}: it has {present}")
    return named_adapters
