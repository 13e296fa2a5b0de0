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
from scipy import special

from dera import estimators
from dera.estimators import Array, Estimate
from dera.lam_curve.sampled_lams import LamSamples, Metric, lam_grid, sample_at_lams
from dera.model.realigned import RealignedModel

Target = Literal["sampler", "mixture"]

#: Mean weights further from their expectation, 1, than this and than three standard errors say that the samples miss part of the
#: target.
MASS_TOLERANCE = 0.1

#: A lam is supported if all completions together are worth this many times those sampled at one anchor.
DEFAULT_MIN_ESS = 0.5

#: Where to sample first.
DEFAULT_SAMPLED_LAMS = (0.0, 0.3, 0.8, 2.0)

#: Below this standard deviation a weight is 1 but for rounding, and of no use as a control variate.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Curve:
    """A metric's expectation at each of G lam.

    Attributes:
        lams: shape (G,).
        per_prompt: contributions whose mean over prompts is the estimate, shape (prompts, G).
        mean, low, high: the estimate and its 95% band, from resampled prompts; shape (G,).
        ess: effective sample size of all completions toward each lam, as a share of them, shape (G,).
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

    def at(self, index: int) -> Estimate:
        """The estimate at the lam of that index."""
        return Estimate(float(self.mean[index]), float(self.low[index]), float(self.high[index]))

    def sample_next(self) -> float | None:
        """The lam worth sampling next, None if all are supported."""
        return least_supported(self.lams, self.ess, self.supported)


def coverage(
    samples: LamSamples, target: Target = "sampler", min_ess: float = DEFAULT_MIN_ESS
) -> tuple[Array, Array, Any]:
    """How well the samples cover each lam of their grid, whatever the metric: `ess`, `mass` and `supported` of a `Curve`."""
    return _coverage(_log_weights(samples, target), target, min_ess)


def _coverage(log_weights: Array, target: Target, min_ess: float) -> tuple[Array, Array, Any]:
    """`coverage`, from log weights of shape (G, P, J, S)."""
    lams, prompts, anchors, _ = log_weights.shape
    if target == "mixture":  # whose normaliser is each prompt's own
        log_weights = log_weights - special.logsumexp(log_weights, axis=(2, 3), keepdims=True)
    ess = estimators.effective_sample_size(log_weights.reshape(lams, -1)) / log_weights[0].size
    supported = ess * anchors >= min_ess
    if target == "mixture":
        return ess, np.full(lams, np.nan), supported
    by_prompt = np.exp(log_weights).mean((2, 3))
    mass, error = by_prompt.mean(-1), by_prompt.std(-1, ddof=1) / np.sqrt(prompts)
    return ess, mass, supported & (np.abs(mass - 1) <= np.maximum(MASS_TOLERANCE, 3 * error))


def reweight(
    samples: LamSamples,
    values: Array,
    target: Target = "sampler",
    min_ess: float = DEFAULT_MIN_ESS,
    resamples: int = 1000,
    seed: int = 0,
) -> Curve:
    """The expectation of `values` at every lam of the samples' grid.

    Args:
        samples: at least two completions of each prompt at each anchor.
        values: the metric of each completion, shape (P, J, S), or (G, P, J, S) where it depends on lam.
        target: "sampler", what DeRa decodes at lam, or "mixture", the exact mixture it approximates.
        min_ess: a lam is supported if all completions together are worth this many times those of one anchor.
        resamples: bootstrap resamples of prompts for the band.
        seed: of the bootstrap.

    Raises:
        ValueError: with fewer than two samples a prompt and anchor, or fewer than two prompts.
    """
    prompts, anchors, count = samples.reference.shape
    check_counts(prompts, count)
    log_weights = _log_weights(samples, target)
    by_lam = np.broadcast_to(values, log_weights.shape)
    if target == "sampler":
        at_sampled_lams = np.exp(
            log_weights[[samples.grid.index(anchor) for anchor in samples.sampled_lams[:-1]]]
        )
        contributions = [
            _with_controls(v, w, at_sampled_lams) for v, w in zip(by_lam, log_weights, strict=True)
        ]
    else:
        flat = (len(samples.grid), prompts, -1)
        pairs = zip(by_lam.reshape(flat), log_weights.reshape(flat), strict=True)
        contributions = [estimators.reweighted_mean(v, w, strata=anchors) for v, w in pairs]
    per_prompt = np.stack(contributions, -1)
    ess, mass, supported = _coverage(log_weights, target, min_ess)
    low, high = np.quantile(bootstrap_means(per_prompt, resamples, seed), [0.025, 0.975], axis=0)
    return Curve(
        np.array(samples.grid), per_prompt, per_prompt.mean(0), low, high, ess, mass, supported
    )


def reweighted_kl(samples: LamSamples, **options: Any) -> Curve:
    """KL of the sampler to the reference at every lam, in nats; options as for `reweight`."""
    with np.errstate(
        invalid="ignore"
    ):  # -inf - -inf where both exclude a completion, whose weight is then 0
        log_ratio = samples.log_sampler() - samples.reference
    return reweight(samples, log_ratio, **options)


def sample_covering(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    max_new_tokens: int,
    lams: Sequence[float],
    sampled_lams: Sequence[float] = DEFAULT_SAMPLED_LAMS,
    samples: int = 4,
    max_sampled_lams: int = 8,
    min_ess: float = DEFAULT_MIN_ESS,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> LamSamples:
    """Sample at a few anchors, then at the least supported of `lams` until all are supported or there are `max_sampled_lams`.

    Arguments and errors as for `sample_at_lams` and `reweight`.
    """
    check_counts(len(prompts), samples)
    options: dict[str, Any] = dict(samples=samples, batch_size=batch_size, progress=progress)
    drawn = sample_at_lams(
        model, tokenizer, prompts, sampled_lams, max_new_tokens, lams, seed=seed, **options
    )
    while len(drawn.sampled_lams) < max_sampled_lams:
        ess, _, supported = coverage(drawn, min_ess=min_ess)
        lam = least_supported(drawn.grid, ess, supported)
        if lam is None:
            break
        again = seed + len(drawn.sampled_lams)  # another seed for each anchor
        drawn = drawn.with_samples(
            sample_at_lams(
                model, tokenizer, prompts, [lam], max_new_tokens, drawn.grid, seed=again, **options
            )
        )
    return drawn


def lam_curve(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    metric: Metric,
    max_new_tokens: int,
    lams: Sequence[float],
    **options: Any,
) -> tuple[Curve, LamSamples]:
    """A metric at every one of `lams` from completions at a few, adding anchors where these do not suffice.

    Args:
        metric: judges completions.
        Others, options and errors as for `sample_covering`.

    Returns:
        the curve, at `lams` and the anchors, and the samples, from which other metrics' curves follow without decoding.
    """
    lam_grid(
        [*lams, *options.get("sampled_lams", ())]
    )  # refuses bad values before anything is decoded
    check_counts(len(prompts), options.get("samples", 2))
    sample_at_lams(model, tokenizer, prompts[:2], [1.0], max_new_tokens, samples=1).judge(
        metric
    )  # a metric that fails, fails now
    drawn = sample_covering(model, tokenizer, prompts, max_new_tokens, lams, **options)
    bootstrap = {name: options[name] for name in ("min_ess", "seed") if name in options}
    return reweight(drawn, drawn.judge(metric), **bootstrap), drawn


def least_supported(lams: Sequence[float] | Array, ess: Array, supported: Any) -> float | None:
    """The lam worth sampling next: of those not supported the one with the smallest effective sample; None if there is none."""
    open_lams = np.flatnonzero(~supported)
    return float(lams[open_lams[ess[open_lams].argmin()]]) if len(open_lams) else None


def check_counts(prompts: int, samples: int) -> None:
    """Refuse fewer than two prompts, which have no interval, or two samples, which have no variance."""
    if samples < 2 or prompts < 2:
        raise ValueError(
            f"reweighting needs two prompts and two samples of each at each anchor, got {prompts} and {samples}"
        )


def bootstrap_means(per_prompt: Array, resamples: int, seed: int) -> Array:
    """Means over resampled prompts, the same prompts for every column; shape (prompts, G) to (resamples, G)."""
    prompts = len(per_prompt)
    counts = np.random.default_rng(seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=resamples
    )
    return counts @ per_prompt / prompts


def _log_weights(samples: LamSamples, target: Target) -> Array:
    """Log of the balance heuristic's weights toward each lam of the grid, shape (G, P, J, S)."""
    return (
        samples.log_sampler() if target == "sampler" else samples.log_mixture()
    ) - samples.log_proposal()


def _with_controls(values: Array, log_weights: Array, at_sampled_lams: Array) -> Array:
    """Weighted means, one a prompt, corrected by functions of known mean: the weight itself and the anchors' own weights.

    Args:
        values, log_weights: shape (P, J, S).
        at_sampled_lams: weights toward the anchors but one, shape (J - 1, P, J, S).
    """
    weights = np.exp(log_weights)
    weighted = np.where(
        weights == 0, 0, weights * values
    )  # what cannot occur does not count, infinite or not
    controls = np.concatenate([weights[None], at_sampled_lams]) - 1

    def within(x: Array) -> Array:  # samples of one prompt and anchor are independent and alike
        return (x - x.mean(-1, keepdims=True)).reshape(-1, weighted.size)

    prompts, anchors, samples = weighted.shape
    controls = controls[within(controls).std(-1) > ROUNDING]
    controls = controls[
        : prompts * anchors * (samples - 1) // 10
    ]  # ten degrees of freedom for each coefficient
    if not len(controls) or not np.isfinite(weighted).all():
        return weighted.mean((1, 2))
    coefficients = np.linalg.lstsq(within(controls).T, within(weighted)[0], rcond=1e-6)[0]
    return weighted.mean((1, 2)) - coefficients @ controls.mean((2, 3))
