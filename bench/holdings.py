"""The ways of holding a pair in memory that `bench.memory` compares, and how each is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import disk_offload
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from dera.model.realigned import RealignedModel
from study import job

#: How many weights in 4 bits bitsandbytes quantises with one scale.
BLOCK = 64

#: Loads the pair from the folders of a reference and its adapter. The last folder is empty, and
#: weights that do not stay in memory are written to it.
Loader = Callable[[Path, Path, Path], RealignedModel]


def _unquantised(dtype: torch.dtype, merge_adapter: bool) -> Loader:
    """Two whole models, into one of which the adapter is merged; or one base and the adapter."""

    def load(reference: Path, adapter: Path, scratch: Path) -> RealignedModel:
        options: dict[str, Any] = dict(dtype=dtype, merge_adapter=merge_adapter)
        return RealignedModel.from_pretrained(reference, adapter, **options).to(job.device())

    return load


def _quantised(**settings: Any) -> Loader:
    """One base whose linear layers bitsandbytes quantises, and the adapter beside it.

    Embeddings and norms are kept in 16 bits.
    """

    def load(reference: Path, adapter: Path, scratch: Path) -> RealignedModel:
        config = BitsAndBytesConfig(**settings)
        options: dict[str, Any] = dict(quantization_config=config, dtype=torch.bfloat16)
        return RealignedModel.from_pretrained(reference, adapter, **options)

    return load


def _from_disk(reference: Path, adapter: Path, scratch: Path) -> RealignedModel:
    """One base and the adapter. Each layer's weights are read from disk whenever it is run."""
    base = AutoModelForCausalLM.from_pretrained(reference, use_safetensors=True)
    model: Any = PeftModel.from_pretrained(base, str(adapter)).eval()
    disk_offload(model, scratch, execution_device=torch.device(job.device()))
    with warnings.catch_warnings():
        # It says that a pair whose weights are on disk was not read to prove it.
        warnings.filterwarnings("ignore", message="the pair was not proved")
        return RealignedModel(None, model)


def check_quantises() -> None:
    """Refuse to go on if the library is missing that quantises weights.

    Raises:
        ValueError: saying how to install it.
    """
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            "bitsandbytes is not installed, which quantises weights: run `make memory`, or "
            "`pip install -r envs/quantised.txt` first"
        )


def reason_not_to_hold(way: str, reference: Path) -> str | None:
    """Return why a model cannot be held in some way; None if it can.

    In 4 bits bitsandbytes quantises blocks of 64 weights, which must not reach over a row's end.
    """
    if not way.endswith(" 4 bits"):
        return None
    with torch.device("meta"):  # the sizes are enough
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(reference))
    head = model.get_output_embeddings()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layer is not head and layer.in_features % BLOCK:
            return f"the rows of {name} have {layer.in_features} weights, no multiple of {BLOCK}"
    return None


#: How each way of `bench.ways.HOLDINGS` is loaded.
LOADERS: dict[str, Loader] = {
    "two models": _unquantised(torch.float32, merge_adapter=True),
    "adapter": _unquantised(torch.float32, merge_adapter=False),
    "two models, 16 bits": _unquantised(torch.bfloat16, merge_adapter=True),
    "adapter, 16 bits": _unquantised(torch.bfloat16, merge_adapter=False),
    "adapter, 8 bits": _quantised(load_in_8bit=True),
    "adapter, 4 bits": _quantised(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    ),
    "adapter, from disk": _from_disk,
}
