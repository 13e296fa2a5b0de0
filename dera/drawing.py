"""Drawing tokens from their probabilities.

`torch.multinomial` makes a random number for each token of the vocabulary. On a CPU that takes
longer than all other work around a pass of a small model. Here a row takes one random number.
"""

from __future__ import annotations

import torch
from torch import Tensor


def draw(weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw one token a row, in proportion to the weights, by the inverse of their cumulative sum.

    Args:
        weights: probabilities or other weights that are not negative, shape (rows, vocabulary).
            They are added up in float64, so that no weight is lost beside larger ones.
        generator: the source of randomness; torch's own when it is absent.

    Returns:
        The tokens, shape (rows,). A token of weight 0 is never drawn.

    Raises:
        ValueError: if the weights of a row are not finite or are all 0.
    """
    if weights.device.type == "mps":  # which has no float64
        return torch.multinomial(weights, 1, generator=generator)[:, 0]
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    if not bool((total.isfinite() & (total > 0)).all()):
        raise ValueError("no token can be drawn: the probabilities are not finite, or all are 0")

    # The token is the first whose cumulative sum exceeds a uniform random number. Rounding must not
    # raise that number to the total, which no sum exceeds.
    uniform = torch.rand(
        total.shape, dtype=torch.float64, device=weights.device, generator=generator
    )
    threshold = torch.minimum(uniform * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0]
