"""Check that the layers which get an adapter are layers of the model.

PEFT passes over a name that fits no layer as long as another one fits. It refuses names of which
none fits, but only once the model is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study.schema import ConfigError

#: The linear layers of a block of the models that are made here, small Llamas.
OF_LLAMA = (
    *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
    *(f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
)
#: The header of a safetensors file begins with its own length, in so many bytes.
LENGTH_BYTES = 8
#: A longer header is none.
LONGEST_HEADER = 100_000_000


def check_layers(key: str, section: Mapping[str, Any]) -> None:
    """Check the adapters of a task whose model is made here.

    Raises:
        ConfigError: naming the first layer that the model does not have.
    """
    if "pretrained" not in section["model"]:
        blocks = range(section["model"]["layers"])
        _check(key, section, [f"model.layers.{i}.{name}" for i in blocks for name in OF_LLAMA])


def check_layers_of_files(key: str, section: Mapping[str, Any], folder: Path) -> None:
    """Check the adapters of a task whose pretrained model is in a folder on this machine.

    What has no safetensors, or is not fetched yet, passes here.

    Raises:
        ConfigError: naming the first layer that the model does not have.
    """
    weights: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        weights |= _tensors(file)
    if weights:
        _check(key, section, [name.removesuffix(".weight") for name in sorted(weights)])


def _check(key: str, section: Mapping[str, Any], layers: Iterable[str]) -> None:
    """Compare the names in both sections `lora` with the names of all layers, as PEFT does."""
    layers = list(layers)
    adapters = {f"{key}.lora": section.get("lora")}
    if isinstance(section["sft"], Mapping):
        adapters[f"{key}.sft.lora"] = section["sft"].get("lora")
    for where, adapter in adapters.items():
        targets = adapter["target_modules"] if adapter else []
        for target in targets if isinstance(targets, list) else []:
            if not any(layer == target or layer.endswith(f".{target}") for layer in layers):
                raise ConfigError(
                    f"{where}.target_modules: the model has no layer {target!r}; allowed: "
                    f"all-linear, or of {', '.join(_last_names(layers))}"
                )


def _last_names(layers: Iterable[str]) -> list[str]:
    """The names of layers without what stands before the last point and without numbers."""
    names = {layer.rpartition(".")[2] for layer in layers}
    return sorted(name for name in names if re.search("[A-Za-z]", name))[:20]


def _tensors(file: Path) -> set[str]:
    """The names of the weights of two dimensions in a safetensors file; none if it is broken."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
            header = json.loads(opened.read(min(length, LONGEST_HEADER)))
        named = {name: of for name, of in header.items() if name != "__metadata__"}
        return {
            name for name, of in named.items() if name.endswith(".weight") and len(of["shape"]) == 2
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return set()
