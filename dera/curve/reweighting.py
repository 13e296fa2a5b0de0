"""A metric's expectation at every lam of a range, from completions sampled at a few lams.

`balance_heuristic` has the weights that carry the completions to another lam. `control_variates`
has the weighted means, which use what is known about these weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dera import estimators
from dera.curve.balance_heuristic import (
    DEFAULT_MIN_ESS,
    Flags,
    Target,
    check_counts,
    coverage_of,
    least_supported,
    log_weights,
)
from dera.curve.control_variates import controlled_means
from dera.curve.sampled_lams import LamSamples, Metric, lam_grid
from dera.curve.sampling import sample_at_lams, sample_covering
from dera.estimators import Array, Estimate
from dera.model.realigned import RealignedModel
from dera.prompts import as_prompts

#: The curve's band holds 95% of the resampled means.
BAND = (0.025, 0.975)


@dataclass(frozen=True)
class Curve:
    """A metric's expectation at each of G lams.

    Attributes:
        lams: shape (G,).
        per_prompt: contributions whose mean over prompts is the estimate, shape (prompts, G).
        mean: the estimate, shape (G,).
        low, high: its 95% band, from resampled prompts; shape (G,).
        ess: effective sample size of all completions toward each lam, as a share of their number;
            shape (G,).
        mass: mean weight, which is 1 in expectation, shape (G,). It is NaN for the mixture, whose
            normaliser is unknown.
        supported: whether the completions suffice for the estimate, shape (G,).
    """

    lams: Array
    per_prompt: Array
    mean: Array
    low: Array
    high: Array
    ess: Array
    mass: Array
    supported: Flags

    def at(self, index: int) -> Estimate:
        """Return the estimate at the lam of that index."""
        return Estimate(float(self.mean[index]), float(self.low[index]), float(self.high[index]))

    def sample_next(self) -> float | None:
        """Return the lam worth sampling next, or None if every lam is supported."""
        return least_supported(self.lams, self.ess, self.supported)


def reweight(
    samples: LamSamples,
    values: Array,
    target: Target = "sampler",
    min_ess: float = DEFAULT_MIN_ESS,
    resamples: int = 1000,
    seed: int = 0,
) -> Curve:
    """Estimate the expectation of `values` at every lam of the samples' grid.

    Args:
        samples: at least two completions of each prompt at each sampled lam.
        values: the metric of each completion, shape (P, J, S), or (G, P, J, S) where the metric
            depends on lam.
        target: "sampler" for what DeRa decodes at lam, or "mixture" for the exact mixture that the
            sampler approximates.
        min_ess: a lam is supported if all completions together are worth this many times those of
            one sampled lam.
        resamples: how many times prompts are resampled for the band.
        seed: seed of the resampling.

    Raises:
        ValueError: if there are fewer than two prompts, or fewer than two samples of each prompt at
            each sampled lam.
    """
    prompts, _, samples_per_prompt = samples.reference.shape
    check_counts(prompts, samples_per_prompt)

    # Weigh the completions toward each lam, and estimate each prompt's mean there.
    weights = log_weights(samples, target)
    by_lam = np.broadcast_to(values, weights.shape)
    if target == "sampler":
        per_prompt = _sampler_means(samples, by_lam, weights)
    else:
        per_prompt = _mixture_means(by_lam, weights)

    # Say how sure the estimates are.
    ess, mass, supported = coverage_of(weights, target, min_ess)
    low, high = np.quantile(bootstrap_means(per_prompt, resamples, seed), BAND, axis=0)
    return Curve(
        lams=np.array(samples.grid),
        per_prompt=per_prompt,
        mean=per_prompt.mean(0),
        low=low,
        high=high,
        ess=ess,
        mass=mass,
        supported=supported,
    )


def reweighted_kl(samples: LamSamples, **options: Any) -> Curve:
    """Estimate the sampler's KL to the reference at every lam, in nats.

    The options are those of `reweight`.
    """
    # For a completion that both models exclude this is -inf - -inf, which is NaN. Its weight is 0.
    with np.errstate(invalid="ignore"):
        log_ratio = samples.log_sampler() - samples.reference
    return reweight(samples, log_ratio, **options)


def lam_curve(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    metric: Metric,
    max_new_tokens: int,
    lams: Sequence[float],
    **options: Any,
) -> tuple[Curve, LamSamples]:
    """Estimate a metric at every one of `lams` from completions sampled at a few lams.

    Where these do not suffice, further lams are sampled. Other arguments, options and errors are
    those of `sample_covering`.

    Args:
        metric: judges completions.

    Returns:
        the curve, at `lams` and the sampled lams; and the samples behind it. `reweight` makes
        curves of other metrics from these samples without decoding.
    """
    # Bad lams, too few prompts and a metric that fails are refused before the long decoding.
    lam_grid([*lams, *options.get("sampled_lams", ())])
    prompts = as_prompts(prompts)
    check_counts(len(prompts), options.get("samples", 2))
    trial = sample_at_lams(model, tokenizer, prompts[:2], [1.0], max_new_tokens, samples=1)
    trial.judge(metric)

    # Decode, and reweight what was decoded.
    drawn = sample_covering(model, tokenizer, prompts, max_new_tokens, lams, **options)
    reweighting = {name: options[name] for name in ("min_ess", "seed") if name in options}
    return reweight(drawn, drawn.judge(metric), **reweighting), drawn


def bootstrap_means(per_prompt: Array, resamples: int, seed: int) -> Array:
    """Return means over resampled prompts, with the same prompts for every column.

    Args:
        per_prompt: shape (prompts, G).
        resamples: how many times prompts are resampled.
        seed: seed of the resampling.

    Returns:
        shape (resamples, G).
    """
    prompts = len(per_prompt)
    counts = np.random.default_rng(seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=resamples
    )
    return counts @ per_prompt / prompts


def _sampler_means(samples: LamSamples, values: Array, log_weights: Array) -> Array:
    """Return each prompt's mean under the sampler at each lam, shape (prompts, G).

    Args:
        values, log_weights: shape (G, P, J, S).
    """
    all_but_last = [samples.grid.index(lam) for lam in samples.sampled_lams[:-1]]
    known_weights = np.exp(log_weights[all_but_last])
    means = [
        controlled_means(values_at_lam, weights_at_lam, known_weights)
        for values_at_lam, weights_at_lam in zip(values, log_weights, strict=True)
    ]
    return np.stack(means, -1)


def _mixture_means(values: Array, log_weights: Array) -> Array:
    """Return each prompt's self-normalised mean under the mixture at each lam, (prompts, G).

    Args:
        values, log_weights: shape (G, P, J, S).
    """
    lams, prompts, sampled_lams, _ = log_weights.shape
    flat = (lams, prompts, -1)
    means = [
        estimators.reweighted_mean(values_at_lam, weights_at_lam, strata=sampled_lams)
        for values_at_lam, weights_at_lam in zip(
            values.reshape(flat), log_weights.reshape(flat), strict=True
        )
    ]
    return np.stack(means, -1)
