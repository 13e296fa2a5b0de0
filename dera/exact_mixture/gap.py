"""The gap between the sampler and the exact mixture, measured on any pair without any training.

The exact mixture is `p_ref(y)^(1-lam) * p_aligned(y)^lam` over whole completions (paper,
Proposition 1). The sampler normalises every token instead (Proposition 2), which drops the
normalisers `Z_t`. A completion drawn from the sampler therefore has the log weight `log w = sum_t
log Z_t` toward the mixture, and

    KL(sampler || mixture) = log E[w] - E[log w].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dera import estimators
from dera.curve.sampled_lams import LamSamples
from dera.curve.sampling import BatchRecord, sample_at_lams
from dera.estimators import Array, Estimate
from dera.model.realigned import RealignedModel
from dera.prompts import as_prompts

#: If the effective sample size is below this share of the samples, the weights are very uneven, and
#: rare completions with a large weight are likely to be missing.
MIN_ESS = 0.3

#: Completions sampled at other lams cast doubt on an estimate if they raise it by more than each of
#: three limits: a number of standard errors, a share of the estimate, and a number of nats.
DOUBT_ERRORS = 3.0
DOUBT_SHARE = 0.25
DOUBT_NATS = 0.05


@dataclass(frozen=True)
class Gap:
    """How good the approximation is at one lam.

    Attributes:
        lam: mixing weight.
        gap: `KL(sampler || mixture)` in nats a completion, mean over prompts with 95% interval.
        kl: `KL(sampler || reference)` in nats a completion, to compare the gap with.
        ess: effective sample size of a prompt's completions toward the mixture, mean over prompts.
        samples: completions of each prompt.
        prompts: number of prompts.
        warning: why `gap` is not to be relied on, or None.
    """

    lam: float
    gap: Estimate
    kl: Estimate
    ess: float
    samples: int
    prompts: int
    warning: str | None


def diagnose(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    lams: Sequence[float],
    max_new_tokens: int,
    samples: int = 8,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
    record: BatchRecord | None = None,
) -> list[Gap]:
    """Decode at each lam and measure the gap there.

    The arguments are those of `sample_at_lams`, and so are the other errors.

    Raises:
        ValueError: if there are fewer than two prompts or samples, from which no interval follows.
    """
    prompts = as_prompts(prompts)
    if len(prompts) < 2 or samples < 2:
        raise ValueError(
            "an interval needs at least two prompts and two samples of each, "
            f"got {len(prompts)} prompts and {samples} samples"
        )
    drawn = sample_at_lams(
        model,
        tokenizer,
        prompts,
        lams,
        max_new_tokens,
        samples=samples,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        record=record,
    )
    return gaps_of(drawn, seed=seed)


def gaps_of(samples: LamSamples, resamples: int = 1000, seed: int = 0) -> list[Gap]:
    """Measure the gap at each sampled lam, from the completions that were sampled there.

    Completions of the other sampled lams check the estimate: they may include some that the mixture
    favours and this sampler hardly ever draws.

    Args:
        samples: at least two completions of each of at least two prompts.
        resamples: how many times prompts are resampled for the intervals.
        seed: seed of the resampling.
    """
    log_sampler = samples.log_sampler()
    pooled_log_weights = samples.log_mixture() - samples.log_proposal()
    gaps = []
    for sampled_index, lam in enumerate(samples.sampled_lams):
        # Estimate from the completions sampled at this lam, whose weights are `prod_t Z_t`.
        grid_index = samples.grid.index(lam)
        own_log_weights = samples.log_z[grid_index, :, sampled_index]
        own_log_sampler = log_sampler[grid_index, :, sampled_index]
        log_ratio = own_log_sampler - samples.reference[:, sampled_index]
        per_prompt = estimators.approximation_gap(own_log_weights)
        gap = estimators.bootstrap_mean(per_prompt, resamples, seed)
        kl = estimators.bootstrap_mean(log_ratio.mean(-1), resamples, seed)
        ess = float(estimators.effective_sample_size(own_log_weights).mean())

        # Check the estimate with the completions of all sampled lams.
        missed = _missed_nats(pooled_log_weights[grid_index], own_log_weights, gap.value)
        prompts, count = own_log_weights.shape
        warning = _warning(lam, gap.value, ess, count, missed)
        gaps.append(Gap(lam, gap, kl, ess, count, prompts, warning))
    return gaps


def _missed_nats(pooled_log_weights: Array, own_log_weights: Array, gap: float) -> float:
    """Return by how many nats the completions of all sampled lams raise the gap at one lam.

    The gap rises by what they add to `log E[w]`.

    Args:
        pooled_log_weights: log weights toward the mixture of the completions of all sampled lams,
            shape (P, J, S).
        own_log_weights: log weights of the completions sampled at this lam, shape (P, S).
        gap: the gap that the completions sampled at this lam give.

    Returns:
        0 if the rise may be chance.
    """
    prompts, sampled_lams, _ = pooled_log_weights.shape
    pooled = pooled_log_weights.reshape(prompts, -1)
    from_all = estimators.log_normalizer(pooled, strata=sampled_lams)
    rise = from_all - estimators.log_normalizer(own_log_weights)
    error = rise.std(ddof=1) / math.sqrt(len(rise))
    if rise.mean() > max(DOUBT_NATS, DOUBT_SHARE * gap, DOUBT_ERRORS * error):
        return float(rise.mean())
    return 0.0


def _warning(lam: float, gap: float, ess: float, count: int, missed: float) -> str | None:
    """Return why the gap is not to be relied on, or None.

    Args:
        lam: mixing weight.
        gap: the estimated gap in nats.
        ess: effective sample size of a prompt's completions toward the mixture.
        count: completions of a prompt.
        missed: nats by which completions of other lams raise the gap, 0 if that may be chance.
    """
    # It takes about exp(gap) draws to draw what the mixture favours.
    too_large_to_measure = gap > math.log(count) / 2
    if ess < MIN_ESS * count:
        reason = (
            f"the {count} completions of a prompt are worth only {ess:.1f} draws from the exact "
            "mixture"
        )
    elif too_large_to_measure:
        reason = f"a gap of {gap:.2f} nats is more than {count} completions of a prompt can measure"
    elif missed:
        reason = f"completions sampled at other lams raise the estimate by {missed:.2f} nats"
    else:
        return None
    return (
        f"at lam = {lam:g} {reason}, so completions that the mixture favours are missing and the "
        "gap is larger than estimated: sample more completions of each prompt, or do not rely on "
        "this lam"
    )
