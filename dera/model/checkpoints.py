"""Whole models on disk or on the Hub: what is no language model is refused, the others load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
)

from dera.model.sources import Source

#: Files by which a folder shows that it holds a tokenizer.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
#: The ends of the names of files with pickled weights, and files of trainers that are no weights.
PICKLED = (".bin", ".pt", ".pth")
NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")


def check_folder(path: str, is_adapter_welcome: bool = True) -> None:
    """Refuse a folder or a file that holds no saved model, and say what it holds.

    What is not on this machine may be on the Hub, so it is not refused here.

    Args:
        path: the folder.
        is_adapter_welcome: whether a PEFT adapter will do.

    Raises:
        ValueError: naming the folder, what it holds and a remedy.
    """
    folder = Path(path)
    if folder.is_file():
        raise ValueError(f"{path} is a file, not the folder of a model. {_remedy_for_file(folder)}")
    if not folder.is_dir():
        return
    if (folder / "adapter_config.json").is_file() and is_adapter_welcome:
        return
    if not (folder / "config.json").is_file():
        raise ValueError(f"{path} is not a saved model, because {_lack_of_config(folder)}")
    files = [file.name for file in folder.iterdir() if file.is_file()]
    if any(name.endswith(".safetensors") for name in files):
        return
    if any(name.endswith(PICKLED) and not name.startswith(NO_WEIGHTS) for name in files):
        raise ValueError(
            f"{path} has no safetensors weights, and pickled ones may run code: if you trust them, "
            "load them with transformers once, and save_pretrained writes safetensors"
        )
    raise ValueError(
        f"{path} is not a saved model, because it has a config.json but no weights: "
        "name a folder that a model's save_pretrained wrote"
    )


def check_is_language_model(source: Source) -> None:
    """Refuse a checkpoint that does not predict next tokens, before its weights are loaded.

    Raises:
        FileNotFoundError: if there is no model at all.
        ValueError: if it is a model of another kind.
    """
    check_folder(source.place, is_adapter_welcome=False)
    try:
        config = AutoConfig.from_pretrained(source.place, **source.arguments)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{source}: neither a folder with a model nor a Hub model that can be reached: {error}"
        ) from error
    saved_as = _architecture(config)
    if _class_for(config) is None:
        raise ValueError(
            f"{source} is a {saved_as or config.model_type}, which is not a model that continues "
            "text: name a language model"
        )
    # The weights decide about a model without a head: the head may be the table of embeddings.
    known: Any = getattr(transformers, saved_as, None) if saved_as else None
    bare = AutoModel._model_mapping.get(type(config), None)
    if known is not None and known is not bare and not known.can_generate():
        raise ValueError(
            f"{source} was saved as a {saved_as}, which does not predict next tokens "
            "(reward models and classifiers do not): name the language model itself"
        )


def load_whole(source: Source, kwargs: dict[str, Any]) -> PreTrainedModel:
    """Load a model that is no adapter, from safetensors.

    Args:
        source: where it is.
        kwargs: more arguments of transformers' `from_pretrained`.

    Raises:
        ValueError: if the weights are pickled, or if some of the model's weights are missing, which
            would be random.
    """
    config = AutoConfig.from_pretrained(source.place, **source.arguments)
    auto = _class_for(config)
    assert auto is not None, f"{source} was not checked"
    arguments = {**kwargs, **source.arguments, "use_safetensors": True}
    try:
        model, info = auto.from_pretrained(source.place, output_loading_info=True, **arguments)
    except OSError as error:
        if "safetensors" in str(error) or ".bin" in str(error):
            raise ValueError(
                f"{source} has no safetensors weights, and pickled ones may run code: convert them "
                "with transformers' save_pretrained, which writes safetensors"
            ) from error
        raise
    missing = sorted(info["missing_keys"])
    # Quantized layers have weights of other names.
    if missing and not getattr(model, "is_quantized", False):
        raise ValueError(
            f"{source} has no weights for {missing[0]} ({len(missing)} weights are missing), so "
            f"they would be random: it was saved as a {_architecture(config)}, so save the "
            "language model with its head"
        )
    return model


def tokenizer_of(source: Source) -> Any:
    """Return the tokenizer saved with a model; None if there is none.

    A checkpoint in a subfolder may leave its tokenizer in the folder above.
    """
    places = [source, source.without_subfolder()] if source.subfolder else [source]
    for place in places:
        try:
            return AutoTokenizer.from_pretrained(place.place, **place.arguments)
        except (OSError, ValueError):
            continue
    return None


def _architecture(config: Any) -> str | None:
    """Return the name of the class that a checkpoint was saved from."""
    return (config.architectures or [None])[0]


def _class_for(config: Any) -> Any:
    """Return the class that loads a language model with this configuration; None if none does.

    Models of images and text are served for text alone.
    """
    if config.is_encoder_decoder:
        classes: list[Any] = [AutoModelForSeq2SeqLM]
    else:
        classes = [AutoModelForCausalLM, AutoModelForImageTextToText]
    for auto in classes:
        if type(config) in auto._model_mapping:
            return auto
    return None


def _remedy_for_file(file: Path) -> str:
    if file.suffix == ".gguf":
        return (
            "Load the GGUF file with AutoModelForCausalLM.from_pretrained(folder, "
            f"gguf_file={file.name!r}), and give the models to RealignedModel(reference, aligned)"
        )
    return "Name the folder that save_pretrained wrote"


def _lack_of_config(folder: Path) -> str:
    """Return why a folder without a config.json is no model, and what to name in its place."""
    names = sorted(entry.name for entry in folder.iterdir())
    inside = [name for name in names if _is_checkpoint(folder / name)]
    gguf = [name for name in names if name.endswith(".gguf")]
    if not names:
        return "it is empty: name a folder that save_pretrained wrote"
    if inside:
        return (
            f"it has no config.json itself. It holds the checkpoints {', '.join(inside)}: "
            f"name one of them, such as {folder / inside[-1]}"
        )
    if gguf:
        return f"it holds a GGUF file. {_remedy_for_file(folder / gguf[0])}"
    if any(name in names for name in TOKENIZER_FILES):
        return (
            "it holds a tokenizer but no config.json and no model: name the folder that the "
            "model's save_pretrained wrote"
        )
    return "it has no config.json or adapter_config.json: name a folder that save_pretrained wrote"


def _is_checkpoint(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
