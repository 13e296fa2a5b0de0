"""A pair of tiny models, made of two models or of one with an adapter."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from tests.dera.architectures import tiny, tiny_adapter


@pytest.fixture(scope="module", params=["two models", "adapter"])
def pair(request) -> tuple[PreTrainedModel | None, torch.nn.Module, PreTrainedModel]:
    """(reference or None, aligned, a separate copy of the reference to compare with).

    The tests of a module share the models and must not change them.
    """
    if request.param == "adapter":
        return None, tiny_adapter(tiny("llama", 1), 2), tiny("llama", 1)
    return tiny("llama", 1), tiny("llama", 2), tiny("llama", 1)
