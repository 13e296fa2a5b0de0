"""Mix the weights of the two models: one model on the line through both, between them or beyond."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from dera.model.realigned import RealignedModel
from eval.combining import Combined

NAME = "weights"
TITLE = "mixing weights"
KNOB = "share of the aligned model"
KNOB_SCHEMA = {"type": "number", "minimum": -1000, "maximum": 1000, "not": {"enum": [0, 1]}}
OPTIONS = {}
PAPER = (
    "Wortsman et al. 2022 (model soups, WiSE-FT), Ilharco et al. 2023 (task arithmetic), "
    "Zheng et al. 2024 (ExPO)"
)
PASSES = 1
DECODED = True


def policy(pair: RealignedModel, knob: float, options: dict[str, Any]) -> Combined:
    """Decode the model whose weights are `reference + knob * (aligned - reference)`.

    The reference runs beside it only to score the completions.
    """
    mixed = between(pair.reference, pair.aligned, knob)
    return Combined(RealignedModel(pair.reference, mixed), of_second_model)


def of_second_model(reference: Tensor, second: Tensor) -> Tensor:
    """Return the next-token logits of the second model alone."""
    return second


@torch.no_grad()
def between(reference: Any, aligned: Any, share: float) -> Any:
    """Return a model with the weights `reference + share * (aligned - reference)`.

    Raises:
        ValueError: if the models do not have the same parameters.
    """
    model = copy.deepcopy(aligned)
    reference_weights = dict(reference.named_parameters())
    _check_same_parameters(reference, model)
    for name, weight in model.named_parameters():
        weight.copy_(torch.lerp(reference_weights[name], weight, share))
    return model


def _check_same_parameters(reference: Any, aligned: Any) -> None:
    first = {name: weight.shape for name, weight in reference.named_parameters()}
    second = {name: weight.shape for name, weight in aligned.named_parameters()}
    if first != second:
        differ = sorted(name for name in first | second if first.get(name) != second.get(name))
        raise ValueError(
            "only models of the same parameters have weights between them; "
            f"{differ[0]} differs: leave the baseline 'weights' out of the config"
        )
