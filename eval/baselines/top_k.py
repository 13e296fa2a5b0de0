"""Restrict DeRa to the k tokens that the reference finds most probable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dera.mixing import mix_logits
from dera.model.realigned import RealignedModel
from eval.combining import Combine, Combined

NAME = "top-k"
TITLE = "DeRa among the reference's top k"
KNOB = "lam"
KNOB_SCHEMA = {"type": "number", "minimum": -1000, "maximum": 1000}
OPTIONS = {"k": {"type": "integer", "minimum": 1}}
PAPER = "Li et al. 2023 (contrastive decoding's plausibility constraint)"
PASSES = 2
DECODED = True


def policy(pair: RealignedModel, knob: float, options: dict[str, Any]) -> Combined:
    """Decode DeRa at the mixing weight `knob` among the reference's `options["k"]` best tokens."""
    return Combined(pair, of_top_k(options["k"], knob))


def of_top_k(k: int, lam: float) -> Combine:
    """Return DeRa's rule with -inf for all but the k tokens most probable under the reference."""

    def combine(reference: Tensor, aligned: Tensor) -> Tensor:
        kept = reference.topk(min(k, reference.shape[-1]), dim=-1).indices
        mixed = mix_logits(reference, aligned, torch.full((len(reference),), lam))
        excluded = torch.full_like(mixed, -torch.inf)
        return excluded.scatter(-1, kept, mixed.gather(-1, kept))

    return combine
