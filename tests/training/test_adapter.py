"""Which modules an adapter trains, and that nothing below its first block changes."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from peft.tuners.lora import LoraLayer

from dera.one_pass.conditions import decoder_layers
from tests.dera.architectures import tiny
from training.adapter import LoraSettings, lora_config

IDS = torch.tensor([[3, 4, 5, 6]])


def adapted(architecture="llama", **changes):
    """A model with the adapter of these settings, how many blocks it has, and its lora weights."""
    section = {"rank": 2, "alpha": 4, "target_modules": "all-linear"} | changes
    model = tiny(architecture, 0)
    blocks = len(decoder_layers(model))
    model = get_peft_model(model, lora_config(LoraSettings(**section), model))
    return model, blocks, [name for name, _ in model.named_parameters() if "lora_" in name]


def test_without_a_first_block_every_linear_layer_of_every_block_has_an_adapter():
    _, blocks, names = adapted()
    for block in range(blocks):
        assert sum(f"layers.{block}." in name for name in names) == 2 * 7


@pytest.mark.parametrize("target_modules", ["all-linear", ["q_proj", "down_proj"]])
def test_only_the_first_block_and_those_above_it_have_an_adapter(target_modules):
    _, blocks, names = adapted(target_modules=target_modules, first_block=blocks_of_tiny() - 1)
    each = 7 if target_modules == "all-linear" else 2
    assert len(names) == 2 * each
    assert all(f"layers.{blocks - 1}." in name for name in names)


def test_the_layers_of_a_gpt2_are_linear_too():
    """They are of another class, which PEFT's "all-linear" adapts like any other."""
    _, blocks, names = adapted("gpt2", first_block=1)
    assert blocks == 2
    assert len(names) == 2 * 4
    assert all("h.1." in name for name in names)


def test_the_scale_is_alpha_over_rank():
    model, _, _ = adapted(rank=2, alpha=6)
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    assert layers
    assert all(layer.scaling == {"default": 3} for layer in layers)


def test_nothing_is_sent_back_below_the_first_block():
    model, blocks, _ = adapted(first_block=blocks_of_tiny() - 1)
    states = model(input_ids=IDS, output_hidden_states=True).hidden_states
    assert not states[blocks - 1].requires_grad
    assert states[blocks].requires_grad


def test_a_block_that_the_model_lacks_is_refused():
    blocks = blocks_of_tiny()
    with pytest.raises(ValueError, match=f"first_block = {blocks}.*has {blocks} blocks"):
        adapted(first_block=blocks)


def blocks_of_tiny() -> int:
    return len(decoder_layers(tiny("llama", 0)))
