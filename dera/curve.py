"""Any metric's expectation at every lam of a range, from completions sampled at a few: multiple importance sampling.

Completions of all anchors are pooled and weighted by `p_lam / mean of the anchors' p` (the balance heuristic, Veach and Guibas
1995), whose expectation is known to be 1 at every lam. That knowledge is used twice: as control variates (Owen and Zhou 2000),
and as a check, for a mean weight far from 1 says that the samples do not cover what lam would produce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dera import estimators
from dera.anchors import AnchorSamples, Metric, sample_anchors
from dera.estimators import Array
from dera.model import RealignedModel

Target = Literal["sampler", "mixture"]

#: Mean weights further from their expectation, 1, than this say that the samples miss part of the target.
MASS_TOLERANCE = 0.1


@dataclass(frozen=True)
class Curve:
    """A metric's expectation at each of G lam.

    Attributes:
        lams: shape (G,).
        per_prompt: contributions whose mean over prompts is the estimate, shape (prompts, G).
        mean, low, high: the estimate and its 95% band, from resampled prompts; shape (G,).
        ess: effective sample size as a share of the samples, mean over prompts, shape (G,).
        mass: mean weight, 1 in expectation (the sampler; NaN for the mixture, whose normaliser is unknown), shape (G,).
        supported: whether the samples can carry the estimate, shape (G,).
    """

    lams: Array
    per_prompt: Array
    mean: Array
    low: Array
    high: Array
    ess: Array
    mass: Array
    supported: Any

    def sample_next(self) -> float | None:
        """The lam worth sampling next: the least supported one, or None if all are supported."""
        if self.supported.all():
            return None
        open_lams = np.flatnonzero(~self.supported)
        return float(self.lams[open_lams[self.ess[open_lams].argmin()]])


def reweight(
    samples: AnchorSamples,
    values: Array,
    target: Target = "sampler",
    min_ess: float = 0.1,
    resamples: int = 1000,
    seed: int = 0,
) -> Curve:
    """The expectation of `values` at every lam of the samples' grid.

    Args:
        samples: at least two completions of each prompt at each anchor.
        values: the metric of each completion, shape (P, J, S), or (G, P, J, S) where it depends on lam.
        target: "sampler", what DeRa decodes at lam, or "mixture", the exact mixture it approximates.
        min_ess: effective share of the samples below which a lam counts as not supported.
        resamples: bootstrap resamples of prompts for the band.
        seed: of the bootstrap.

    Raises:
        ValueError: with fewer than two samples a prompt and anchor, or fewer than two prompts.
    """
    prompts, anchors, count = samples.reference.shape
    if count < 2 or prompts < 2:
        raise ValueError(f"reweighting needs two prompts and two samples of each at each anchor, got {prompts} and {count}")
    log_weights = (samples.log_sampler() if target == "sampler" else samples.log_mixture()) - samples.log_proposal()
    by_lam = np.broadcast_to(values, log_weights.shape)
    estimate = _with_controls if target == "sampler" else _self_normalised
    at_anchors = np.exp(samples.log_sampler()[[samples.grid.index(a) for a in samples.anchors[:-1]]] - samples.log_proposal())
    per_prompt = np.stack([estimate(v, w, at_anchors) for v, w in zip(by_lam, log_weights, strict=True)], -1)
    flat = log_weights.reshape(len(samples.grid), prompts, -1)
    ess = estimators.effective_sample_size(flat).mean(-1) / (anchors * count)
    mass = np.exp(flat).mean((1, 2)) if target == "sampler" else np.full(len(ess), np.nan)
    means = bootstrap_means(per_prompt, resamples, seed)
    return Curve(
        lams=np.array(samples.grid),
        per_prompt=per_prompt,
        mean=per_prompt.mean(0),
        low=np.quantile(means, 0.025, axis=0),
        high=np.quantile(means, 0.975, axis=0),
        ess=ess,
        mass=mass,
        supported=(ess >= min_ess) & ~(np.abs(mass - 1) > MASS_TOLERANCE),
    )


def reweighted_kl(samples: AnchorSamples, **options: Any) -> Curve:
    """KL of the sampler to the reference at every lam, in nats; options as for `reweight`."""
    return reweight(samples, samples.log_sampler() - samples.reference, **options)


def lam_curve(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    metric: Metric,
    max_new_tokens: int,
    lams: Sequence[float],
    anchors: Sequence[float] = (0.0, 0.25, 0.75),
    samples: int = 4,
    max_anchors: int | None = None,
    min_ess: float = 0.1,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Curve, AnchorSamples]:
    """A metric at every one of `lams` from completions at a few, adding anchors where these do not suffice.

    Args:
        model, tokenizer, prompts, max_new_tokens, samples, batch_size, seed, progress: as for `sample_anchors`.
        metric: judges completions.
        lams: where the curve is wanted.
        anchors: where to sample first.
        max_anchors: sample at least supported lam until all are supported or there are so many anchors; none are added when absent.
        min_ess: as for `reweight`.

    Returns:
        the curve, at `lams` and the anchors, and the samples, from which other metrics' curves follow without decoding.

    Raises:
        ValueError: as `sample_anchors` and `reweight`.
    """
    options = dict(max_new_tokens=max_new_tokens, samples=samples, batch_size=batch_size, progress=progress)
    drawn = sample_anchors(model, tokenizer, prompts, anchors, grid=lams, seed=seed, **options)  # type: ignore[arg-type]
    while True:
        curve = reweight(drawn, drawn.judge(metric), min_ess=min_ess, seed=seed)
        lam = curve.sample_next()
        if lam is None or len(drawn.anchors) >= (max_anchors or 0):
            return curve, drawn
        seed_of_anchor = seed + len(drawn.anchors)
        more = sample_anchors(model, tokenizer, prompts, [lam], grid=drawn.grid, seed=seed_of_anchor, **options)  # type: ignore[arg-type]
        drawn = drawn.with_anchor(more)


def bootstrap_means(per_prompt: Array, resamples: int, seed: int) -> Array:
    """Means over resampled prompts, the same prompts for every column; shape (prompts, G) to (resamples, G)."""
    prompts = len(per_prompt)
    counts = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    return counts @ per_prompt / prompts


def _with_controls(values: Array, log_weights: Array, at_anchors: Array) -> Array:
    """Weighted means, one a prompt, corrected by functions of known mean: the weight itself and the anchors' own weights.

    Args:
        values, log_weights: shape (P, J, S).
        at_anchors: weights toward the anchors but one, shape (J - 1, P, J, S).
    """
    weights = np.exp(log_weights)
    controls = np.concatenate([weights[None], at_anchors]) - 1
    weighted = weights * values

    def within(x: Array) -> Array:  # samples of one prompt and anchor are independent and alike
        return (x - x.mean(-1, keepdims=True)).reshape(-1, weighted.size)

    coefficients = np.linalg.lstsq(within(controls).T, within(weighted)[0], rcond=1e-6)[0]
    return weighted.mean((1, 2)) - coefficients @ controls.mean((2, 3))


def _self_normalised(values: Array, log_weights: Array, _: Array) -> Array:
    prompts = len(values)
    return estimators.reweighted_mean(values.reshape(prompts, -1), log_weights.reshape(prompts, -1))
