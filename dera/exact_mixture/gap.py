"""How far per-token mixing is from the exact mixture, measured on any pair without training anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dera import estimators
from dera.estimators import Array, Estimate
from dera.lam_curve.sampled_lams import LamSamples, sample_at_lams
from dera.model.realigned import RealignedModel

#: Below this share of effective samples the weights are so uneven that rare, heavy ones are likely to be missing.
MIN_ESS = 0.3

#: Completions of other lam cast doubt on an estimate if they raise it by this many standard errors and this share of it, and by
#: more nats than anyone would mind.
DOUBT_ERRORS, DOUBT_SHARE, DOUBT_NATS = 3.0, 0.25, 0.05


@dataclass(frozen=True)
class Gap:
    """The approximation at one lam.

    Attributes:
        lam: mixing weight.
        gap: `KL(sampler || mixture)` in nats a completion, mean over prompts with its 95% interval.
        kl: `KL(sampler || reference)` in nats, to compare it with.
        ess: effective sample size toward the mixture, mean over prompts.
        samples, prompts: how many completions of each of how many prompts.
        warning: why `gap` is not to be relied on, or None.
    """

    lam: float
    gap: Estimate
    kl: Estimate
    ess: float
    samples: int
    prompts: int
    warning: str | None


def gaps_of(samples: LamSamples, resamples: int = 1000, seed: int = 0) -> list[Gap]:
    """The approximation at each anchor, from the anchor's own completions; at least two of each of two prompts.

    Where there are several anchors, the completions of the others check the estimate: they may hold some that the mixture
    favours and this sampler hardly ever draws.
    """
    log_sampler, pooled = samples.log_sampler(), samples.log_mixture() - samples.log_proposal()
    found = []
    for j, lam in enumerate(samples.sampled_lams):
        at = samples.grid.index(lam)
        log_weights = samples.log_z[at, :, j]
        log_ratio = log_sampler[at, :, j] - samples.reference[:, j]
        per_prompt, ess = (
            estimators.approximation_gap(log_weights),
            float(estimators.effective_sample_size(log_weights).mean()),
        )
        prompts, count = log_weights.shape
        gap = estimators.bootstrap_mean(per_prompt, resamples, seed)
        found.append(
            Gap(
                lam=lam,
                gap=gap,
                kl=estimators.bootstrap_mean(log_ratio.mean(-1), resamples, seed),
                ess=ess,
                samples=count,
                prompts=prompts,
                warning=_warning(
                    lam, gap.value, ess, count, _missed(pooled[at], log_weights, gap.value)
                ),
            )
        )
    return found


def _missed(pooled: Array, log_weights: Array, gap: float) -> float:
    """By how many nats the completions of all anchors together raise the estimate; 0 if that may be chance.

    Args:
        pooled: log weights of all anchors' completions toward the mixture, shape (P, J, S).
        log_weights: of the lam's own, shape (P, S).
    """
    prompts, anchors, _ = pooled.shape
    together = estimators.log_normalizer(pooled.reshape(prompts, -1), strata=anchors)
    more = together - estimators.log_normalizer(log_weights)
    error = more.std(ddof=1) / math.sqrt(len(more))
    return (
        float(more.mean())
        if more.mean() > max(DOUBT_NATS, DOUBT_SHARE * gap, DOUBT_ERRORS * error)
        else 0.0
    )


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
) -> list[Gap]:
    """Decode at each lam and measure the approximation there.

    Arguments and errors as for `sample_at_lams`; at least two prompts and two samples, from which intervals come.
    """
    if len(prompts) < 2 or samples < 2:
        raise ValueError(
            f"an interval needs at least two prompts and two samples of each, got {len(prompts)} and {samples}"
        )
    options = dict(samples=samples, batch_size=batch_size, seed=seed, progress=progress)
    return gaps_of(
        sample_at_lams(model, tokenizer, prompts, lams, max_new_tokens, **options), seed=seed
    )  # type: ignore[arg-type]


def _warning(lam: float, gap: float, ess: float, count: int, missed: float) -> str | None:
    if ess < MIN_ESS * count:
        reason = f"the {count} completions of a prompt are worth only {ess:.1f} draws from the exact mixture"
    elif (
        gap > math.log(count) / 2
    ):  # some exp(gap) draws are needed to meet what the mixture favours
        reason = f"a gap of {gap:.2f} nats is more than {count} completions of a prompt can measure"
    elif missed:
        reason = f"completions sampled at other lam raise the estimate by {missed:.2f} nats"
    else:
        return None
    return (
        f"at lam = {lam:g} {reason}, so completions that the mixture favours are missing and the gap is larger than estimated: "
        "sample more completions of each prompt, or do not rely on this lam"
    )
