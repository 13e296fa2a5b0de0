"""Loading a reference and aligned models that belong together."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils.peft_utils import find_adapter_config_file

from dera.model.parts import named
from dera.model.vocabulary import check_same_tokenizer

Loaded = tuple[PreTrainedModel | None, Any, list[str] | None, Any]

#: Arguments that say where on the Hub to look and as whom; tokenizers, configurations and adapters need them as models do.
HUB_ARGUMENTS = (
    "token",
    "revision",
    "cache_dir",
    "local_files_only",
    "force_download",
    "proxies",
    "subfolder",
)


def load_parts(reference: Any, aligned: Any, merge_adapter: bool = False, **kwargs: Any) -> Loaded:
    """Load what `RealignedModel` takes: the reference (None when it is the base of adapters), the aligned model or models, the
    names of the adapters, and the tokenizer.

    Raises: as `RealignedModel.from_pretrained`.
    """
    if kwargs.pop("trust_remote_code", False):
        raise ValueError(
            "trust_remote_code is not supported: models run from transformers' own code only"
        )
    hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
    reference, paths = str(reference), _paths(aligned)
    for path in (reference, *paths.values()):
        must_exist(path)
    are_adapters = {
        name: find_adapter_config_file(path, **hub) is not None for name, path in paths.items()
    }
    for path in (reference, *(path for name, path in paths.items() if not are_adapters[name])):
        _must_be_a_model(path, hub)
    tokenizer = _tokenizer(reference, hub)
    for name, path in paths.items():
        if are_adapters[name]:
            _check_adapter(path, reference, hub)
        _check_tokenizer(path, reference, tokenizer, hub, needed=not are_adapters[name])
    if all(are_adapters.values()) and not merge_adapter:
        return (
            None,
            _with_adapters(reference, paths, kwargs, hub, shared=True),
            list(paths),
            tokenizer,
        )
    modules = {
        name: _with_adapters(reference, {name: path}, kwargs, hub, shared=False).merge_and_unload()
        if are_adapters[name]
        else _whole(path, kwargs, hub)
        for name, path in paths.items()
    }
    return _whole(reference, kwargs, hub), modules, None, tokenizer


def _paths(aligned: Any) -> dict[str, str]:
    paths = {name: str(path) for name, path in named(aligned).items()}
    dotted = [name for name in paths if "." in name]
    if dotted:
        raise ValueError(
            f"the names {dotted} of aligned models have a dot, which PEFT cannot have in the name of an adapter"
        )
    return paths


def must_exist(path: str) -> None:
    """Hub ids are `name` or `owner/name`; anything else is a path, and reported as missing without asking the Hub."""
    is_path = path.startswith((".", "~", os.sep)) or path.count("/") > 1
    if is_path and not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: no such folder (a Hub id would be `name` or `owner/name`)"
        )


def _must_be_a_model(path: str, hub: dict[str, Any]) -> None:
    try:
        AutoConfig.from_pretrained(path, **hub)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{path}: neither a folder with a model nor a Hub model that can be reached: {error}"
        ) from error


def _tokenizer(path: str, hub: dict[str, Any]) -> Any:
    """The tokenizer saved with a model, None if there is none."""
    try:
        return AutoTokenizer.from_pretrained(path, **hub)
    except (OSError, ValueError):
        return None


def _check_tokenizer(
    path: str, reference: str, tokenizer: Any, hub: dict[str, Any], needed: bool
) -> None:
    """An aligned model's own tokenizer must be the reference's; adapters may come without one."""
    own = _tokenizer(path, hub)
    if own is None and not needed:
        return
    for name, found in ((reference, tokenizer), (path, own)):
        if found is None:
            raise ValueError(
                f"{name} has no tokenizer to compare: save the tokenizer beside the model"
            )
    check_same_tokenizer(tokenizer, own, (reference, path))


def _whole(path: str, kwargs: dict[str, Any], hub: dict[str, Any]) -> PreTrainedModel:
    seq2seq = AutoConfig.from_pretrained(path, **hub).is_encoder_decoder
    auto = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    try:
        return auto.from_pretrained(path, **{**kwargs, "use_safetensors": True})
    except OSError as error:
        if "safetensors" in str(error) or ".bin" in str(error):
            raise ValueError(
                f"{path} has no safetensors weights, and pickled ones may run code: "
                "convert them with transformers' save_pretrained, which writes safetensors"
            ) from error
        raise


def _with_adapters(
    reference: str, paths: dict[str, str], kwargs: dict[str, Any], hub: dict[str, Any], shared: bool
) -> PeftModel:
    base, model = _whole(reference, kwargs, hub), None
    for name, path in paths.items():
        stored = load_peft_weights(path, device="cpu", use_safetensors=True, **hub)
        if shared:
            _check_leaves_base(path, stored, base if model is None else model.get_base_model(), hub)
        try:
            if model is None:
                model = PeftModel.from_pretrained(base, path, adapter_name=name, **hub)
            else:
                model.load_adapter(path, adapter_name=name, **hub)
        except (
            RuntimeError,
            ValueError,
        ) as error:  # shapes that differ; target modules that do not exist
            raise ValueError(
                f"the adapter {path} does not fit {reference}: was it trained on another base?\n{error}"
            ) from error
        _check_complete(model, name, path, reference, set(stored))
    return model.eval()  # type: ignore[union-attr]


def _check_adapter(path: str, reference: str, hub: dict[str, Any]) -> None:
    """An adapter that says it was trained on a base of another name probably was; folders move, so this only warns."""
    if Path(path).is_dir() and not (Path(path) / "adapter_model.safetensors").exists():
        raise ValueError(
            f"{path} has no adapter_model.safetensors, and pickled weights may run code: save the adapter with PEFT again"
        )
    recorded = PeftConfig.from_pretrained(path, **hub).base_model_name_or_path
    if recorded and Path(recorded).name != Path(reference).name:
        warnings.warn(
            f"the adapter {path} was trained on {recorded}, and is put on {reference}: is that the same model?",
            stacklevel=4,
        )


def _check_leaves_base(path: str, stored: dict[str, Any], base: Any, hub: dict[str, Any]) -> None:
    """Refuse an adapter that changes weights of the base itself: switched off, it would not give back the reference."""
    own = base.state_dict()
    names = {name: name.removeprefix("base_model.model.") for name in stored}
    changed = [
        name
        for name, place in names.items()
        if place in own and not _same(stored[name], own[place])
    ]
    bias = getattr(PeftConfig.from_pretrained(path, **hub), "bias", "none")
    if changed or bias != "none":
        what = f"bias={bias!r}" if bias != "none" else f"for example {changed[0]}"
        raise ValueError(
            f"the adapter {path} also changes weights of its base ({what}), so the base with the adapter off is not the "
            "reference: load it with merge_adapter=True, which keeps a second copy"
        )


def _same(stored: Any, own: Any) -> bool:
    return stored.shape == own.shape and bool((stored.to(own.device, own.dtype) == own).all())


def _check_complete(
    model: PeftModel, name: str, path: str, reference: str, stored: set[str]
) -> None:
    """PEFT drops weights that find no place and leaves places without weights as they were: refuse both."""
    expected = set(get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False))
    homeless = (
        stored - expected - set(model.state_dict())
    )  # embeddings may be stored beside the adapter
    empty = expected - stored
    if homeless or empty:
        raise ValueError(
            f"the adapter {path} does not fit {reference}: {len(homeless)} of its weights have no place there and "
            f"{len(empty)} places have no weight, for example {sorted(homeless | empty)[0]}: was it trained on another base?"
        )
