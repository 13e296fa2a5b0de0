"""Other rules than DeRa's for making one policy out of a reference and an aligned model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from dera.mixing import mix_logits
from dera.model.realigned import RealignedModel

Combine = Callable[[Tensor, Tensor], Tensor]


class Combined:
    """A pair with another rule than DeRa's: what `dera.decoding` needs of a model.

    Args:
        pair: runs both models.
        combine: next-token logits from the log-probabilities of the reference and the aligned model, float32 of shape (rows, 1, vocabulary).
    """

    def __init__(self, pair: RealignedModel, combine: Combine):
        self.pair, self.combine = pair, combine
        self.config, self.device, self.generation_config = (
            pair.config,
            pair.device,
            pair.generation_config,
        )

    def __call__(self, **inputs: Any) -> Any:
        output = self.pair(**inputs, output_parts=True)
        output.logits = self.combine(
            *(
                part.float().log_softmax(-1)
                for part in (output.reference_logits, output.aligned_logits)
            )
        )
        return output


@torch.no_grad()
def between(reference: Any, aligned: Any, share: float) -> Any:
    """A model with the weights `reference + share * (aligned - reference)`.

    Raises:
        ValueError: if the models do not have the same parameters.
    """
    model, theirs = copy.deepcopy(aligned), dict(reference.named_parameters())
    shapes = [
        {name: weight.shape for name, weight in one.named_parameters()}
        for one in (reference, model)
    ]
    if shapes[0] != shapes[1]:
        differ = sorted(
            name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name)
        )
        raise ValueError(
            f"only models of the same parameters have weights between them; {differ[0]} differs"
        )
    for name, weight in model.named_parameters():
        weight.copy_(torch.lerp(theirs[name], weight, share))
    return model


def of_aligned(reference: Tensor, aligned: Tensor) -> Tensor:
    """The aligned model's own."""
    return aligned


def of_probabilities(share: float) -> Combine:
    """`(1 - share) * p_ref + share * p_aligned`, in log space."""
    return lambda reference, aligned: torch.logaddexp(
        reference + math.log1p(-share), aligned + math.log(share)
    )


def of_temperature(temperature: float) -> Combine:
    """The aligned model's divided by the temperature."""
    return lambda _, aligned: aligned / temperature


def of_top_k(k: int, lam: float) -> Combine:
    """DeRa's, -inf but for the reference's k most probable tokens."""

    def combine(reference: Tensor, aligned: Tensor) -> Tensor:
        kept = reference.topk(min(k, reference.shape[-1]), dim=-1).indices
        mixed = mix_logits(reference, aligned, torch.full((len(reference),), lam))
        return torch.full_like(mixed, -torch.inf).scatter(-1, kept, mixed.gather(-1, kept))

    return combine


def baselines(
    pair: RealignedModel, settings: dict[str, Any]
) -> Iterator[tuple[str, Fraction, Combined]]:
    """Method, knob and policy, one after another, because each of `weights` is a model of its own."""
    for share in settings.get("weights", []):
        model = RealignedModel(pair.reference, between(pair.reference, pair.aligned, share))
        yield "weights", Fraction(str(share)), Combined(model, of_aligned)
    for share in settings.get("probabilities", []):
        yield "probabilities", Fraction(str(share)), Combined(pair, of_probabilities(share))
    for temperature in settings.get("temperature", []):
        yield "temperature", Fraction(str(temperature)), Combined(pair, of_temperature(temperature))
    top_k = settings.get("top_k", {"lams": []})
    for lam in top_k["lams"]:
        yield "top-k", Fraction(str(lam)), Combined(pair, of_top_k(top_k["k"], lam))
