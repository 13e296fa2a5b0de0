"""Loading a reference and aligned models that belong together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from dera.vocabulary import check_same_tokenizer

Loaded = tuple[PreTrainedModel | None, Any, list[str] | None, Any]


def load_parts(reference: Any, aligned: Any, merge_adapter: bool = False, **kwargs: Any) -> Loaded:
    """Load what `RealignedModel` takes: the reference (None when it is the base of adapters), the aligned model or models, the
    names of the adapters, and the tokenizer.

    Raises: as `RealignedModel.from_pretrained`.
    """
    if kwargs.pop("trust_remote_code", False):
        raise ValueError("trust_remote_code is not supported: models run from transformers' own code only")
    reference, paths = str(reference), _named(aligned)
    if not paths:
        raise ValueError("at least one aligned model is needed")
    dotted = [name for name in paths if "." in name]
    if dotted:
        raise ValueError(f"the names {dotted} of aligned models have a dot, which PEFT cannot have in the name of an adapter")
    for path in (reference, *paths.values()):
        must_exist(path)
    tokenizer = _tokenizer(reference)
    are_adapters = {name: find_adapter_config_file(path) is not None for name, path in paths.items()}
    for name, path in paths.items():
        if are_adapters[name]:
            _check_base(path, reference)
        else:
            for folder, found in ((reference, tokenizer), (path, other := _tokenizer(path))):
                if found is None:
                    raise ValueError(f"{folder} has no tokenizer to compare: save the tokenizer beside the model")
            check_same_tokenizer(tokenizer, other, (reference, path))
    if all(are_adapters.values()) and not merge_adapter:
        return None, _with_adapters(reference, paths, kwargs), list(paths), tokenizer
    modules = {
        name: _with_adapters(reference, {name: path}, kwargs).merge_and_unload() if are_adapters[name] else _whole(path, kwargs)
        for name, path in paths.items()
    }
    return _whole(reference, kwargs), modules, None, tokenizer


def _named(aligned: Any) -> dict[str, str]:
    if isinstance(aligned, Mapping):
        return {name: str(path) for name, path in aligned.items()}
    if isinstance(aligned, Sequence) and not isinstance(aligned, str):
        return {str(i): str(path) for i, path in enumerate(aligned)}
    return {"aligned": str(aligned)}


def must_exist(path: str) -> None:
    """Hub ids are `name` or `owner/name`; anything else is a path, and reported as missing without asking the Hub."""
    is_path = path.startswith((".", "~", os.sep)) or path.count("/") > 1
    if is_path and not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such folder (a Hub id would be `name` or `owner/name`)")


def _tokenizer(path: str) -> Any:
    """The tokenizer saved with a model, None if there is none."""
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError):
        return None


def _whole(path: str, kwargs: dict[str, Any]) -> PreTrainedModel:
    seq2seq = AutoConfig.from_pretrained(path).is_encoder_decoder
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


def _with_adapters(reference: str, paths: dict[str, str], kwargs: dict[str, Any]) -> PeftModel:
    base, model = _whole(reference, kwargs), None
    for name, path in paths.items():
        try:
            if model is None:
                model = PeftModel.from_pretrained(base, path, adapter_name=name)
            else:
                model.load_adapter(path, adapter_name=name)
        except (RuntimeError, ValueError) as error:  # shapes that differ; target modules that do not exist
            raise ValueError(f"the adapter {path} does not fit {reference}: was it trained on another base?\n{error}") from error
        _check_complete(model, name, path, reference)
    return model.eval()  # type: ignore[union-attr]


def _check_base(path: str, reference: str) -> None:
    """An adapter that says it was trained on a base of another name probably was; folders move, so this only warns."""
    if Path(path).is_dir() and not (Path(path) / "adapter_model.safetensors").exists():
        raise ValueError(
            f"{path} has no adapter_model.safetensors, and pickled weights may run code: save the adapter with PEFT again"
        )
    recorded = PeftConfig.from_pretrained(path).base_model_name_or_path
    if recorded and Path(recorded).name != Path(reference).name:
        warnings.warn(
            f"the adapter {path} was trained on {recorded}, and is put on {reference}: is that the same model?", stacklevel=4
        )


def _check_complete(model: PeftModel, name: str, path: str, reference: str) -> None:
    """PEFT drops weights that find no place and leaves places without weights as they were: refuse both."""
    stored = set(load_peft_weights(path, device="cpu", use_safetensors=True))
    expected = set(get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False))
    homeless, empty = (
        stored - expected - set(model.state_dict()),
        expected - stored,
    )  # embeddings may be stored beside the adapter
    if homeless or empty:
        raise ValueError(
            f"the adapter {path} does not fit {reference}: {len(homeless)} of its weights have no place there and "
            f"{len(empty)} places have no weight, for example {sorted(homeless | empty)[0]}: was it trained on another base?"
        )
