"""Sampling the exact mixture over whole completions, by sequential Monte Carlo.

Decoding token by token only approximates that mixture, because it drops each token's normaliser
`Z_t` (paper, Proposition 2). Here several completions of a prompt, the particles, are decoded side
by side. The weight of a particle is the product of the normalisers that its tokens have dropped.
Where the weights become uneven, heavy particles are copied and light ones are given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.decoding import Completions, Rows, check_max_new_tokens, is_end
from dera.drawing import draw
from dera.mixing import log_normalizers
from dera.model.modules import input_device
from dera.model.realigned import RealignedModel, check_pair
from dera.prompts import as_prompts
from dera.weights import Lam, as_lam


@dataclass(frozen=True)
class Particles:
    """Weighted completions of each prompt: a sample of the exact mixture.

    Attributes:
        completions: one row a particle, in the order of the prompts.
        log_weights: float64 of shape (prompts, particles). A particle counts as much as its
            weight's share in the weights of its prompt.
        log_normalizer: shape (prompts,), an estimate of the log of
            `sum_y p_ref(y)^(1-lam) * p_aligned(y)^lam`. The estimate's exponential is unbiased.
        resampled: shape (prompts,), how many times each prompt's particles were resampled.
    """

    completions: Completions
    log_weights: Tensor
    log_normalizer: Tensor
    resampled: Tensor

    def effective_sample_size(self) -> Tensor:
        """Return Kish's effective number of particles of each prompt, shape (prompts,).

        Resampling makes the weights equal, so only what came after the last resampling counts.
        """
        return _effective_sample_size(self.log_weights)

    def pick(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one row of `completions` for each prompt, in proportion to the weights.

        Each row is nearly a draw from the exact mixture. The shape is (prompts,).
        """
        prompts, particles = self.log_weights.shape
        chosen = draw(self.log_weights.softmax(-1), generator)
        return chosen + torch.arange(prompts, device=chosen.device) * particles


@torch.no_grad()
def sample_mixture(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    lam: Lam,
    particles: int = 16,
    resample_below: float = 0.5,
    generator: torch.Generator | None = None,
) -> Particles:
    """Sample the exact mixture of whole completions (paper, Proposition 1).

    The mixture is proportional to `p_ref(y)^(1-lam) * p_aligned(y)^lam`. As `particles` grows,
    picking from the result becomes exact.

    Args:
        model: a reference with one aligned model.
        tokenizer: its tokenizer.
        prompts: texts to continue; each of them gets particles of its own.
        max_new_tokens: completions are cut after so many tokens. The mixture is then that of the
            two models' cut completions.
        lam: one number, or one for each prompt.
        particles: completions decoded for each prompt; memory and time grow with it.
        resample_below: particles are resampled when their effective number falls below this share
            of them. 0 never resamples (plain importance weights), 1 resamples at every token.
        generator: source of randomness; torch's own when absent.

    Raises:
        ValueError: if `lam` is bad, if there are fewer than two particles, or if the model has
            several aligned models.
    """
    check_pair(model)
    check_max_new_tokens(max_new_tokens)
    if particles < 2:
        raise ValueError(f"particles must be at least 2, got {particles}")
    prompts = as_prompts(prompts)
    lams = as_lam(lam, len(prompts), input_device(model))[:, 0].repeat_interleave(particles)
    rows = Rows(model, tokenizer, [prompt for prompt in prompts for _ in range(particles)])
    drawn = torch.full((len(lams), max_new_tokens), rows.pad, device=input_device(model))
    population = _Population(drawn, len(prompts), particles)

    for step in range(max_new_tokens):
        # Weigh: the token about to be drawn adds its normaliser, which per-token mixing drops.
        lams_decoded = lams[population.decoded]
        output = rows.forward(lam=lams_decoded, output_parts=True)
        log_z = log_normalizers(output.reference_logits, output.aligned_logits, lams_decoded)
        population.weigh(log_z[:, 0])

        # Resample: particles that the mixture favours are copied, and others are given up.
        parents = population.resample(resample_below, generator)
        if not len(parents):
            break

        # Extend: each particle draws its token from its parent's distribution (Proposition 2).
        tokens = draw(output.logits[parents, -1].float().softmax(-1), generator)
        unfinished = ~is_end(tokens, rows.ends)
        population.extend(step, tokens, unfinished)
        if not len(population.decoded):
            break
        rows.advance(tokens[unfinished], parents[unfinished])
    return Particles(
        completions=rows.completions(population.drawn),
        log_weights=population.log_weights,
        log_normalizer=_log_mean(population.log_weights),
        resampled=population.resampled,
    )


class _Population:
    """The particles of all prompts while they are decoded.

    Attributes:
        drawn: the tokens so far, shape (prompts * particles, max_new_tokens).
        decoded: the rows of `drawn` that are still being decoded, in the order of the batch.
        log_weights, resampled: as in `Particles`.
    """

    def __init__(self, drawn: Tensor, prompts: int, particles: int):
        device = drawn.device
        self.drawn = drawn
        self.decoded = torch.arange(len(drawn), device=device)
        self.log_weights = torch.zeros(prompts, particles, dtype=torch.double, device=device)
        self.resampled = torch.zeros(prompts, dtype=torch.long, device=device)

    def weigh(self, log_z: Tensor) -> None:
        """Multiply the weights of the particles being decoded by their normalisers.

        Args:
            log_z: shape (rows being decoded,).
        """
        self.log_weights.view(-1)[self.decoded] += log_z.double()

    def resample(self, resample_below: float, generator: torch.Generator | None) -> Tensor:
        """Replace the particles of prompts whose weights are uneven, and give them equal weights.

        Returns:
            for each particle that is decoded from now on, where its parent stands in the batch.
        """
        ancestors, uneven = _ancestors(self.log_weights, resample_below, generator)
        mean = _log_mean(self.log_weights)
        self.log_weights = torch.where(uneven[:, None], mean[:, None], self.log_weights)
        self.resampled += uneven
        self.drawn = self.drawn[ancestors]

        # A particle goes on if its ancestor was still being decoded.
        batch_position = torch.full_like(ancestors, -1)
        batch_position[self.decoded] = torch.arange(len(self.decoded), device=ancestors.device)
        parents = batch_position[ancestors]
        goes_on = parents >= 0
        self.decoded = goes_on.nonzero()[:, 0]
        return parents[goes_on]

    def extend(self, step: int, tokens: Tensor, unfinished: Tensor) -> None:
        """Append a token to each particle being decoded, and go on with the unfinished ones.

        Args:
            step: how many tokens were drawn before.
            tokens: shape (rows being decoded,).
            unfinished: which of these tokens do not end their completion, same shape.
        """
        self.drawn[self.decoded, step] = tokens
        self.decoded = self.decoded[unfinished]


def _ancestors(
    log_weights: Tensor, resample_below: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Choose the row that replaces each row, by systematic resampling.

    One uniform number a prompt places equidistant points on the cumulated weights, as many as there
    are particles. A particle is thereby copied its expected number of times, rounded up or down.

    Args:
        log_weights: shape (prompts, particles).
        resample_below: prompts whose effective number of particles is below this share of them are
            resampled; the rows of other prompts stay.

    Returns:
        the rows, shape (prompts * particles,), and which prompts are resampled, shape (prompts,).
    """
    prompts, particles = log_weights.shape
    device = log_weights.device
    uneven = _effective_sample_size(log_weights) < resample_below * particles
    offset = torch.rand(prompts, 1, dtype=torch.double, generator=generator, device=device)
    points = (torch.arange(particles, device=device) + offset) / particles
    cumulated = log_weights.softmax(-1).cumsum(-1)
    copied = torch.searchsorted(cumulated, points).clamp(max=particles - 1)
    unchanged = torch.arange(particles, device=device)
    within_prompt = torch.where(uneven[:, None], copied, unchanged)
    first_rows = torch.arange(prompts, device=device)[:, None] * particles
    return (within_prompt + first_rows).view(-1), uneven


def _log_mean(log_weights: Tensor) -> Tensor:
    """Return the log of the mean weight over the last axis."""
    return log_weights.logsumexp(-1) - torch.log(torch.tensor(float(log_weights.shape[-1])))


def _effective_sample_size(log_weights: Tensor) -> Tensor:
    """Return `(sum w)^2 / sum w^2` over the last axis (Kish)."""
    return (2 * log_weights.logsumexp(-1) - (2 * log_weights).logsumexp(-1)).exp()
