"""Tiny random models for the library's tests: made here, nothing is downloaded."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

VOCABULARY, EOS, PAD = 13, 0, 1


def tiny_llama(seed: int, vocabulary: int = VOCABULARY) -> LlamaForCausalLM:
    """A random two-layer Llama whose next-token distributions are far from uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.6,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    return LlamaForCausalLM(config).eval()


def tiny_adapter(base: PreTrainedModel, seed: int):
    """A PEFT model on `base` whose adapter changes the logits visibly."""
    torch.manual_seed(seed)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(params=["two models", "adapter"])
def pair(request) -> tuple[PreTrainedModel | None, torch.nn.Module, PreTrainedModel]:
    """(reference or None, aligned, a separate copy of the reference to compare with)."""
    if request.param == "adapter":
        return None, tiny_adapter(tiny_llama(1), 2), tiny_llama(1)
    return tiny_llama(1), tiny_llama(2), tiny_llama(1)


@pytest.fixture
def prompts() -> list[list[int]]:
    """Prompts of different lengths, as token ids."""
    return [[3, 4, 5, 6, 7], [8, 2], [9, 3, 9], [2, 2, 2, 2]]


def left_padded(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Prompts as a batch padded on the left."""
    width = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[PAD] * (width - len(row)) + row for row in prompts]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts]),
    }
