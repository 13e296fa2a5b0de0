"""Sampling the exact sequence-level mixture, which decoding token by token only approximates, by sequential Monte Carlo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dera.decoding import Completions, Rows, check_max_new_tokens, draw, is_end
from dera.mixing import log_normalizers
from dera.model.realigned import RealignedModel, check_pair
from dera.weights import Lam, as_lam


@dataclass(frozen=True)
class Particles:
    """Weighted completions of each prompt: a sample of the exact mixture.

    Attributes:
        completions: rows in the order of prompts, a prompt's particles together.
        log_weights: shape (prompts, particles), float64; a particle counts as its weight's share in its prompt.
        log_normalizer: shape (prompts,): estimate of the log of `sum_y p_ref(y)^(1-lam) * p_aligned(y)^lam`, whose
            exponential is unbiased.
        resampled: shape (prompts,): how many times each prompt's particles were resampled on the way.
    """

    completions: Completions
    log_weights: Tensor
    log_normalizer: Tensor
    resampled: Tensor

    def effective_sample_size(self) -> Tensor:
        """Kish's effective number of particles of each prompt, from the weights since the last resampling."""
        return _effective_sample_size(self.log_weights)

    def pick(self, generator: torch.Generator | None = None) -> Tensor:
        """One row of `completions` for each prompt, drawn in proportion to its weight: (nearly) a draw from the exact mixture."""
        chosen = torch.multinomial(self.log_weights.softmax(-1), 1, generator=generator)[:, 0]
        return chosen + torch.arange(len(chosen), device=chosen.device) * self.log_weights.shape[1]


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
    """Sample the exact mixture `p_ref(y)^(1-lam) * p_aligned(y)^lam` over whole completions (paper, Proposition 1).

    Particles are decoded with per-token mixing (Proposition 2) and weighted by the normalisers `Z_t` it drops. When a prompt's
    effective number of particles falls below `resample_below` of them, they are resampled (systematically), so that
    prefixes the mixture favours are continued and the others are not. As `particles` grows, picking from the result is exact.

    Args:
        model: a reference with one aligned model.
        tokenizer: its tokenizer.
        prompts: one group of particles each.
        max_new_tokens: completions are cut there, and the mixture is that of the two models' cut completions.
        lam: one number, or one a prompt.
        particles: completions decoded for each prompt; memory and time grow with it.
        resample_below: 0 never resamples on the way (plain importance weights), 1 does at every token.
        generator: source of randomness; torch's own when absent.

    Raises:
        ValueError: on a bad `lam`, fewer than two particles, or a model with several aligned models.
    """
    check_pair(model)
    check_max_new_tokens(max_new_tokens)
    if particles < 2:
        raise ValueError(f"particles must be at least 2, got {particles}")
    weights = as_lam(lam, len(prompts), model.device)[:, 0].repeat_interleave(particles)
    state = Rows(model, tokenizer, [prompt for prompt in prompts for _ in range(particles)])
    drawn = torch.full((len(weights), max_new_tokens), state.pad, device=model.device)
    log_weights = torch.zeros(len(prompts), particles, dtype=torch.double, device=model.device)
    resampled = torch.zeros(len(prompts), dtype=torch.long, device=model.device)
    rows = torch.arange(len(weights), device=model.device)  # those still being decoded
    for step in range(max_new_tokens):
        output = state.forward(lam=weights[rows], output_parts=True)
        log_z = log_normalizers(output.reference_logits, output.aligned_logits, weights[rows])[:, 0]
        log_weights.view(-1)[rows] += log_z.double()
        ancestors, again = _ancestors(log_weights, resample_below, generator)
        log_weights = torch.where(again[:, None], _log_mean(log_weights)[:, None], log_weights)
        resampled += again
        drawn = drawn[ancestors]
        # A particle goes on if its ancestor did; `index` is where that stands in the batch.
        position = torch.full_like(ancestors, -1).index_put_(
            (rows,), torch.arange(len(rows), device=rows.device)
        )
        index = position[ancestors]
        rows, index = (index >= 0).nonzero()[:, 0], index[index >= 0]
        if not len(rows):
            break
        tokens = draw(output.logits[index, -1].float(), generator)
        drawn[rows, step] = tokens
        going = ~is_end(tokens, state.ends)
        rows = rows[going]
        if not len(rows):
            break
        state.advance(tokens[going], index[going])
    return Particles(state.completions(drawn), log_weights, _log_mean(log_weights), resampled)


def _log_mean(log_weights: Tensor) -> Tensor:
    return log_weights.logsumexp(-1) - torch.log(torch.tensor(float(log_weights.shape[-1])))


def _effective_sample_size(log_weights: Tensor) -> Tensor:
    return (2 * log_weights.logsumexp(-1) - (2 * log_weights).logsumexp(-1)).exp()


def _ancestors(
    log_weights: Tensor, resample_below: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """For each row the row it is replaced by, shape (prompts * particles,), and which prompts are resampled.

    Systematic resampling: one uniform number a prompt places `particles` equidistant points on the cumulated weights, so a
    particle is copied its expected number of times, rounded up or down.
    """
    prompts, particles = log_weights.shape
    device = log_weights.device
    again = _effective_sample_size(log_weights) < resample_below * particles
    offset = torch.rand(prompts, 1, dtype=torch.double, generator=generator, device=device)
    points = (torch.arange(particles, device=device) + offset) / particles
    cumulated = log_weights.softmax(-1).cumsum(-1)
    chosen = torch.searchsorted(cumulated, points).clamp(max=particles - 1)
    chosen = torch.where(again[:, None], chosen, torch.arange(particles, device=device))
    return (chosen + torch.arange(prompts, device=device)[:, None] * particles).view(-1), again
