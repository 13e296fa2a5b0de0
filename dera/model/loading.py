"""Loading a reference and aligned models that belong together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils.peft_utils import find_adapter_config_file

from dera.model.adapters import check_adapter, with_named_adapters
from dera.model.assembly import named
from dera.model.proof.kinds import check_kind_on_disk
from dera.model.proof.witness import Witness, merged_by_itself
from dera.model.vocabulary import check_same_tokenizer

#: The arguments that say where on the Hub to look, and as whom. Tokenizers, configurations and
#: adapters need them as models do.
HUB_ARGUMENTS = (
    "token",
    "revision",
    "cache_dir",
    "local_files_only",
    "force_download",
    "proxies",
    "subfolder",
)


@dataclass(frozen=True)
class Loaded:
    """What `RealignedModel` takes.

    Attributes:
        reference: the reference; None when it is the base of adapters.
        aligned: a PEFT model with all adapters, or whole models by name.
        adapters: PEFT's name of each adapter, by the aligned model's name; None for whole models.
        tokenizer: the reference's tokenizer; None if it has none.
    """

    reference: PreTrainedModel | None
    aligned: Any
    adapters: dict[str, str] | None
    tokenizer: Any


def load_parts(
    reference: Any, aligned: Any, merge_adapter: bool = False, check: bool = True, **kwargs: Any
) -> Loaded:
    """Load a reference and aligned models.

    The arguments and the errors are those of `RealignedModel.from_pretrained`.
    """
    if kwargs.pop("trust_remote_code", False):
        raise ValueError(
            "trust_remote_code is not supported: models run from transformers' own code only, "
            "so leave it out"
        )
    hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
    reference = str(reference)
    paths = _paths(aligned)

    # Everything is checked before weights are loaded, which may take long.
    for path in (reference, *paths.values()):
        must_exist(path)
    adapters = {
        name: path
        for name, path in paths.items()
        if find_adapter_config_file(path, **hub) is not None
    }
    whole_models = [path for name, path in paths.items() if name not in adapters]
    for path in (reference, *whole_models):
        _must_be_a_model(path, hub)
    tokenizer = _tokenizer(reference, hub)
    share_base = len(adapters) == len(paths) and not merge_adapter
    for name, path in paths.items():
        if name in adapters:
            check_adapter(path, reference, hub)
        if name in adapters and check:
            check_kind_on_disk(path, hub, keeps_base=share_base)
        _check_tokenizer(path, reference, tokenizer, hub, needed=name not in adapters)

    # Where all aligned models are adapters, they share one base. With its adapters off, the base is
    # the reference.
    if share_base:
        base = _load_whole(reference, kwargs, hub)
        witness = Witness(base) if check else None
        model, names = with_named_adapters(base, reference, paths, hub, keeps_base=True)
        if witness is not None:
            own_paths = {names[name]: path for name, path in paths.items()}
            witness.check_base_is_kept(model, reference, own_paths)
        return Loaded(None, model, names, tokenizer)

    # Otherwise every model is whole, and each adapter is merged into a base of its own.
    modules = {}
    for name, path in paths.items():
        if name in adapters:
            base = _load_whole(reference, kwargs, hub)
            model, _ = with_named_adapters(base, reference, {name: path}, hub, keeps_base=False)
            modules[name] = merged_by_itself(model, path, check)
        else:
            modules[name] = _load_whole(path, kwargs, hub)
    return Loaded(_load_whole(reference, kwargs, hub), modules, None, tokenizer)


def must_exist(path: str) -> None:
    """Check that a local path exists, without asking the Hub.

    Hub ids are `name` or `owner/name`. Anything else is a path.

    Raises:
        FileNotFoundError: if it does not exist.
    """
    is_path = path.startswith((".", "~", os.sep)) or path.count("/") > 1
    if is_path and not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: no such folder (a Hub id would be `name` or `owner/name`)"
        )


def _paths(aligned: Any) -> dict[str, str]:
    """Return the aligned models' paths as text, by name."""
    return {name: str(path) for name, path in named(aligned).items()}


def _must_be_a_model(path: str, hub: dict[str, Any]) -> None:
    try:
        AutoConfig.from_pretrained(path, **hub)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{path}: neither a folder with a model nor a Hub model that can be reached: {error}"
        ) from error


def _tokenizer(path: str, hub: dict[str, Any]) -> Any:
    """Return the tokenizer saved with a model; None if there is none."""
    try:
        return AutoTokenizer.from_pretrained(path, **hub)
    except (OSError, ValueError):
        return None


def _check_tokenizer(
    path: str, reference: str, tokenizer: Any, hub: dict[str, Any], needed: bool
) -> None:
    """Check that an aligned model's own tokenizer is the reference's.

    An adapter may come without a tokenizer: then `needed` is false.
    """
    own = _tokenizer(path, hub)
    if own is None and not needed:
        return
    for folder, saved in ((reference, tokenizer), (path, own)):
        if saved is None:
            raise ValueError(
                f"{folder} has no tokenizer to compare: save the tokenizer beside the model"
            )
    check_same_tokenizer(tokenizer, own, (reference, path))


def _load_whole(path: str, kwargs: dict[str, Any], hub: dict[str, Any]) -> PreTrainedModel:
    """Load a model that is no adapter, from safetensors."""
    is_seq2seq = AutoConfig.from_pretrained(path, **hub).is_encoder_decoder
    auto = AutoModelForSeq2SeqLM if is_seq2seq else AutoModelForCausalLM
    try:
        return auto.from_pretrained(path, **{**kwargs, "use_safetensors": True})
    except OSError as error:
        if "safetensors" in str(error) or ".bin" in str(error):
            raise ValueError(
                f"{path} has no safetensors weights, and pickled ones may run code: convert them "
                "with transformers' save_pretrained, which writes safetensors"
            ) from error
        raise
