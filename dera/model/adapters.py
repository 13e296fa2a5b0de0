"""Loading PEFT adapters onto their base, and refusing those that do not fit it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from peft.utils import CONFIG_NAME
from peft.utils.save_and_load import load_peft_weights
from transformers import PreTrainedModel


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter, and not a whole model."""
    return (folder / CONFIG_NAME).exists()


def with_named_adapters(
    base: PreTrainedModel,
    reference: str,
    paths: dict[str, str],
    keeps_base: bool,
) -> tuple[PeftModel, dict[str, str]]:
    """Put adapters with any names on a base. PEFT gets other names, which cannot trouble it.

    The arguments and the errors are those of `with_adapters`.

    Returns:
        The PEFT model, and PEFT's name of each adapter by the name in `paths`.
    """
    names = _names_for_peft(base, list(paths))
    own_paths = {names[name]: path for name, path in paths.items()}
    try:
        return with_adapters(base, reference, own_paths, keeps_base), names
    except ValueError as error:
        message = str(error)
        for name, own in names.items():
            message = message.replace(own, str(name))
        raise ValueError(message) from error


def with_adapters(
    base: PreTrainedModel,
    reference: str,
    paths: dict[str, str],
    keeps_base: bool,
) -> PeftModel:
    """Put adapters on a base.

    Args:
        base: the base, into which PEFT puts the adapters.
        reference: the path of the base, for messages.
        paths: the adapters' paths, by PEFT's names for them; at least one.
        keeps_base: whether the base with its adapters off must stay the reference.

    Raises:
        ValueError: if an adapter does not fit the base, or changes a base that must stay as it is,
            or if weights of the base are on disk.
    """
    _check_not_on_disk(base, reference)
    model: PeftModel | None = None
    for name, path in paths.items():
        # Refuse an adapter that would change the reference.
        stored = load_peft_weights(path, device="cpu", use_safetensors=True)
        _check_sizes_of_tables(path, reference, stored, base)
        if keeps_base:
            bare = base if model is None else model.get_base_model()
            _check_leaves_base(path, stored, bare)

        # The first adapter makes the PEFT model, and the others are added to it. PEFT raises these
        # errors for shapes that differ and for target modules that do not exist.
        try:
            if model is None:
                model = PeftModel.from_pretrained(base, path, adapter_name=name)
            else:
                model.load_adapter(path, adapter_name=name)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the adapter {path} does not fit {reference}: "
                f"was it trained on another base?\n{error}"
            ) from error
        _check_complete(model, name, path, reference, set(stored))
    assert model is not None, "at least one adapter is needed"
    return model.eval()


def _check_not_on_disk(base: Any, reference: str) -> None:
    """Refuse a base with weights on disk: PEFT would write copies of them and then fail."""
    if "disk" in getattr(base, "hf_device_map", {}).values():
        raise ValueError(
            f"device_map keeps weights of {reference} on disk, where PEFT cannot put an adapter on "
            "them: let PEFT put it on the base in memory, call accelerate.disk_offload(peft_model, "
            "folder, execution_device=...), and pass RealignedModel(None, peft_model)"
        )


def _names_for_peft(base: PreTrainedModel, names: list[str]) -> dict[str, str]:
    """Return a name for PEFT to use in the place of each name.

    PEFT makes parts of keys of the names of adapters, and looks for the names in keys again. A name
    therefore must not hold a dot, and must not occur in another adapter's name or in the base's
    keys, as `model` and `0` do.
    """
    stem = "aligned"
    while any(stem in key for key in base.state_dict()):
        stem += "_adapter"
    return {name: f"{stem}_{index}_" for index, name in enumerate(names)}


def warn_of_another_base(path: str, reference: str) -> None:
    """Warn of an adapter that names another base than the one that it is put on.

    Folders move, so a base of another name may be the same model.
    """
    recorded = PeftConfig.from_pretrained(path).base_model_name_or_path
    if recorded and Path(recorded).name != Path(reference).name:
        warnings.warn(
            f"the adapter {path} was trained on {recorded}, and is put on {reference}: "
            "is that the same model?",
            stacklevel=4,
        )


def _check_sizes_of_tables(path: str, reference: str, stored: dict[str, Any], base: Any) -> None:
    """Refuse an adapter that was trained on a base with more or fewer tokens.

    PEFT then saves the tables of the resized base beside the adapter.
    """
    for table in (base.get_input_embeddings(), base.get_output_embeddings()):
        names = [name for name, module in base.named_modules() if module is table]
        weight = stored.get(f"base_model.model.{names[0]}.weight") if names else None
        if weight is not None and len(weight) != len(table.weight):
            raise ValueError(
                f"the adapter {path} was trained on a base with {len(weight)} tokens, and "
                f"{reference} has {len(table.weight)}: resize a copy of the reference with "
                f"resize_token_embeddings({len(weight)}), save it with its tokenizer, and load the "
                "adapter on this copy with merge_adapter=True"
            )


def _check_leaves_base(path: str, stored: dict[str, Any], base: Any) -> None:
    """Refuse an adapter that changes weights of the base itself.

    When such an adapter is switched off, the base is not the reference. Modules that PEFT trains
    whole are copies, which leave the base as it is.
    """
    config = PeftConfig.from_pretrained(path)
    copied = tuple(getattr(config, "modules_to_save", None) or ())
    own = base.state_dict()
    changed = []
    for name, weight in stored.items():
        place = name.removeprefix("base_model.model.")
        is_copy = bool(copied) and place.rpartition(".")[0].endswith(copied)
        if place in own and not is_copy and not _are_equal(weight, own[place]):
            changed.append(name)
    bias = getattr(config, "bias", "none")
    if changed or bias != "none":
        reason = f"bias={bias!r}" if bias != "none" else f"for example {changed[0]}"
        raise ValueError(
            f"the adapter {path} also changes weights of its base ({reason}), so the base with the "
            "adapter off is not the reference: load it with merge_adapter=True, which keeps a "
            "second copy"
        )


def _are_equal(stored: Any, own: Any) -> bool:
    """Return whether a stored weight is the base's own, in the base's precision."""
    return stored.shape == own.shape and bool((stored.to(own.device, own.dtype) == own).all())


def _check_complete(
    model: PeftModel, name: str, path: str, reference: str, stored: set[str]
) -> None:
    """Refuse an adapter whose weights are not exactly those that the base has a place for.

    PEFT drops weights without a place, and leaves places without weights as they were.
    """
    expected = set(get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False))
    # Embeddings of the base may be stored beside the adapter.
    without_place = stored - expected - set(model.state_dict())
    without_weight = expected - stored
    if without_place or without_weight:
        example = sorted(without_place | without_weight)[0]
        raise ValueError(
            f"the adapter {path} does not fit {reference}: {len(without_place)} of its weights "
            f"have no place there and {len(without_weight)} places have no weight, for example "
            f"{example}: was it trained on another base?"
        )
