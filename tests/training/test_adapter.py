"""Which modules an adapter trains, and that nothing below its first block changes."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from dera.one_pass.conditions import decoder_layers
from tests.dera.architectures import tiny
from training.adapter import LoraSettings, lora_config

IDS = torch.tensor([[3, 4, 5, 6]])


def adapted(**changes):
    """A model with the adapter of these settings, and the lora weights by their module's name."""
    section = {"rank": 2, "alpha": 4, "target_modules": "all-linear"} | changes
    model = tiny("llama", 0)
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
