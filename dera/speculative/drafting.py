"""Pieces of speculative decoding: which drafts are kept, how many to draft and who drafts, and caches with rows of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from dera.model.parts import Part

#: No more tokens than these are drafted before they are verified.
LONGEST_DRAFT = 12

#: Tokens whose arithmetic takes as long as reading the weights once: on an accelerator, and on a CPU (measured there, 0.8M to 100M parameters).
TOKENS_A_PASS = (256, 32)


def accept(drafts: Tensor, target: Tensor, drafter: Tensor) -> tuple[Tensor, Tensor]:
    """Speculative sampling: keep drafts so that what is kept or put in their place follows `target` exactly.

    A draft is kept with probability min(1, p / q). The first that is not is replaced by a token drawn from max(p - q, 0),
    normalised, and those after it are lost (Leviathan et al. 2023, Algorithm 1; Chen et al. 2023, Algorithm 2).

    Args:
        drafts: tokens drawn from `drafter`, shape (batch, steps).
        target, drafter: probabilities p and q, shape (batch, steps, vocabulary).

    Returns:
        How many drafts of each row are kept, and the token that follows them where not all are; both of shape (batch,).
    """
    p, q = (each.gather(-1, drafts[..., None])[..., 0] for each in (target, drafter))
    kept = _leading(
        torch.rand_like(p) * q < p
    )  # strictly: a draft that the target excludes is never kept
    at = kept.clamp(max=drafts.shape[1] - 1)[:, None, None].expand(-1, 1, target.shape[-1])
    p, q = (each.gather(1, at)[:, 0] for each in (target, drafter))
    residual = (p - q).clamp(min=0)
    residual = torch.where(
        residual.sum(-1, keepdim=True) > 0, residual, p
    )  # nothing is left where p = q, and nothing refused
    return kept, torch.multinomial(residual, 1)[:, 0]


def accept_greedily(drafts: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
    """As `accept` for greedy decoding: a draft is kept while it is the target's most probable token, `best`, shape (batch, steps)."""
    kept = _leading(drafts == best)
    return kept, best.gather(1, kept.clamp(max=drafts.shape[1] - 1)[:, None])[:, 0]


def draft_length(acceptance: float, verifiers: int, load: float) -> int:
    """The number of drafts with which tokens cost least, if each draft is accepted with probability `acceptance`.

    `k` drafts take k passes of the drafter and one of each verifier over k + 1 tokens, and give 1 + a + ... + a^(k-1) tokens: those
    kept before the first refusal, and its replacement. Without drafts every model reads one token, and gives one. A pass is taken
    to cost 1 for the weights it reads and `load` for each token of each row: a model of the cost and no clock, which would change
    what a seed gives.

    Args:
        acceptance: between 0 and 1.
        verifiers: how many models verify.
        load: rows / TOKENS_A_PASS.
    """
    best, least, tokens = 0, (1 + verifiers) * (1 + load), 0.0
    for length in range(1, LONGEST_DRAFT + 1):
        tokens += acceptance ** (length - 1)
        cost = (length * (1 + load) + verifiers * (1 + (length + 1) * load)) / tokens
        if cost < least:
            best, least = length, cost
    return best


class Acceptance:
    """How near each part is to the mixture: the mean of sum_v min(p(v), q(v)), which is the acceptance were it to draft.

    Begins with a guess that weighs as much as a few positions, by which the part with the largest share is the nearest.

    Args:
        shares: each part's exponent in the mixture, the reference's first.
    """

    GUESS, WEIGHT, MARGIN = 0.95, 4.0, 0.01

    def __init__(self, shares: Sequence[float]):
        self.sums = [self.GUESS * self.WEIGHT] * len(shares)
        self.weight = self.WEIGHT
        self.nearest = max(range(len(shares)), key=shares.__getitem__)

    def add(self, sums: Sequence[float], positions: float) -> bool:
        """Count overlaps summed over so many positions, one sum a part; whether another part is now the nearest."""
        self.sums = [old + new for old, new in zip(self.sums, sums, strict=True)]
        self.weight += positions
        before, best = self.nearest, max(range(len(sums)), key=self.sums.__getitem__)
        if (
            self.sums[best] > self.sums[before] + self.MARGIN * self.weight
        ):  # changing costs a little
            self.nearest = best
        return self.nearest != before

    @property
    def acceptance(self) -> float:
        """Of the nearest part."""
        return min(self.sums[self.nearest] / self.weight, 1.0)


class DraftCache:
    """The cache of one part, in which each row has its tokens in slots of its own: others hold padding or refused drafts.

    Args:
        part: the model.
        vocabulary: how many of its logits to keep.

    Attributes:
        count: slots in use.
        mask: 1 where a row has a token, shape (rows, slots); None while all have one, which spares the models masks.
        passes: how often the part was called.
    """

    def __init__(self, part: Part, vocabulary: int):
        self.part, self.vocabulary = part, vocabulary
        self.cache, self.count, self.passes = DynamicCache(), 0, 0
        self.mask: Tensor | None = None

    def read(self, ids: Tensor, positions: Tensor, real: Tensor | None, keep: int) -> Tensor:
        """Append tokens and return float32 logits after the last `keep` of them; to be called within `part.adapted()`.

        Args:
            ids, positions: shape (rows, time).
            real: which of them are tokens; None for all.
        """
        if real is not None and self.mask is None:
            self.mask = ids.new_ones(len(ids), self.count)
        if self.mask is not None:
            self.mask = torch.cat(
                [self.mask, torch.ones_like(ids) if real is None else real.to(ids.dtype)], dim=1
            )
        self.count += ids.shape[1]
        self.passes += 1
        output = self.part.run(
            input_ids=ids, attention_mask=self.mask, position_ids=positions, past_key_values=self.cache, use_cache=True,
            logits_to_keep=keep, return_dict=True,
        )  # fmt: skip
        return output.logits[:, -keep:, : self.vocabulary].to(ids.device, torch.float32)

    def keep(self, kept: Tensor, time: int) -> None:
        """Of the last `time` slots, keep each row's first `kept`, shape (rows,), and drop those that no row keeps."""
        kept = kept.clamp(max=time)
        most, least = int(kept.max()), int(kept.min())
        if most < time:
            self.cache.crop(most - time)
            self.count -= time - most
            self.mask = None if self.mask is None else self.mask[:, : self.count]
        if least < most:
            if self.mask is None:
                self.mask = torch.ones(len(kept), self.count, dtype=torch.long, device=kept.device)
            self.mask[:, self.count - most :] = (
                torch.arange(most, device=kept.device) < kept[:, None]
            )

    @property
    def layers(self) -> list[Any]:
        """Of the cache; all are of the kind that keeps every token's keys and values."""
        return self.cache.layers

    def select(self, rows: Tensor) -> None:
        """Go on with these rows."""
        for layer in self.layers:
            layer.batch_select_indices(rows.to(layer.keys.device))
        self.mask = None if self.mask is None else self.mask[rows]

    def compact(self, room: float) -> None:
        """Move each row's tokens together once a quarter of the slots is waste, or there are not `room` for another round."""
        if self.mask is None:
            return
        longest = int(self.mask.sum(1).max())
        if self.count <= min(1.25 * longest + LONGEST_DRAFT, room - LONGEST_DRAFT - 1):
            return
        order = self.mask.argsort(dim=1, stable=True)[:, -longest:]
        for layer in self.layers:
            where = order[:, None, :, None].to(layer.keys.device)
            layer.keys, layer.values = (
                held.gather(2, where.expand(-1, held.shape[1], -1, held.shape[3]))
                for held in (layer.keys, layer.values)
            )
        self.count, self.mask = longest, self.mask.gather(1, order)
        self.mask = None if bool(self.mask.all()) else self.mask


def _leading(kept: Tensor) -> Tensor:
    """How many of a row's first are true."""
    return kept.long().cumprod(-1).sum(-1)
