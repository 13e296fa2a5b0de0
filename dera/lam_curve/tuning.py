"""Choosing lam: the best value of a metric under a limit on the KL to the reference, and how sure that choice is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dera.estimators import FEW_PROMPTS, Array, Estimate, bootstrap_mean
from dera.lam_curve.curve import DEFAULT_MIN_ESS, Curve, bootstrap_means, lam_curve, reweighted_kl
from dera.lam_curve.sampled_lams import LamSamples, Metric, sample_at_lams
from dera.model.realigned import RealignedModel

#: Where to look when the caller does not say.
DEFAULT_LAMS = tuple(round(0.1 * i, 1) for i in range(21))


@dataclass(frozen=True)
class Tuning:
    """The chosen mixing weight.

    Attributes:
        lam: the best of the supported lam that keep to the limit.
        low, high: 95% interval of that choice, from resampled prompts.
        value: the metric there; of the prompts that chose lam, so a little optimistic.
        confirmed: the metric there on prompts that had no part in the choice, decoded at lam; None if none were held out.
        kl: KL to the reference there, in nats.
        beta: the strength worth retraining at, `aligned_beta / lam`; None without `aligned_beta` or at lam <= 0.
        warnings: in plain words, what to be careful about.
        curve, kl_curve: the metric and the KL at every lam.
        samples: the completions behind them.
    """

    lam: float
    low: float
    high: float
    value: Estimate
    kl: Estimate
    beta: float | None
    warnings: list[str]
    curve: Curve
    kl_curve: Curve
    samples: LamSamples
    confirmed: Estimate | None = None


def tune(
    model: RealignedModel,
    tokenizer: Any,
    prompts: Sequence[str],
    metric: Metric,
    max_new_tokens: int,
    max_kl: float | None = None,
    lams: Sequence[float] = DEFAULT_LAMS,
    held_out: float = 0.0,
    resamples: int = 2000,
    min_ess: float = DEFAULT_MIN_ESS,
    seed: int = 0,
    **options: Any,
) -> Tuning:
    """Find the lam with the highest mean metric, from completions at a few lam.

    Args:
        model, tokenizer, prompts, metric, max_new_tokens, lams, min_ess, seed, options: as for `lam_curve`; the reference
            (lam = 0), whose KL is 0, is always among the candidates.
        max_kl: the largest KL to the reference allowed, in nats a completion; no limit when absent.
        held_out: the last so many of the prompts, as a share, do not choose lam but confirm it.
        resamples: bootstrap resamples of prompts, each of which chooses its own lam.

    Raises:
        ValueError: if `max_kl` is negative or not a number, or `held_out` leaves fewer than two prompts on either side; and as
            `lam_curve`.
    """
    if max_kl is not None and not max_kl >= 0:
        raise ValueError(f"max_kl must be 0 or more nats, got {max_kl}")
    choosing, confirming = split(prompts, held_out)
    known: dict[str, Any] = dict(min_ess=min_ess, seed=seed)
    curve, drawn = lam_curve(
        model, tokenizer, choosing, metric, max_new_tokens, [0.0, *lams], **known, **options
    )
    found = choose(
        curve, reweighted_kl(drawn, **known), drawn, model.aligned_beta, max_kl, resamples, seed
    )
    if not confirming:
        return found
    plain = {
        name: options[name] for name in ("samples", "batch_size", "progress") if name in options
    }
    fresh = sample_at_lams(
        model, tokenizer, confirming, [found.lam], max_new_tokens, seed=seed, **plain
    )
    return replace(
        found, confirmed=bootstrap_mean(fresh.judge(metric).mean((1, 2)), resamples, seed)
    )


def split(prompts: Sequence[str], held_out: float) -> tuple[Sequence[str], Sequence[str]]:
    """The prompts that choose and, if any, those held out: the last of them, as a share.

    Raises:
        ValueError: if fewer than two are left to choose or to confirm.
    """
    if not 0 <= held_out < 1:
        raise ValueError(
            f"held_out must be a share of the prompts, at least 0 and below 1, got {held_out}"
        )
    confirming = round(len(prompts) * held_out)
    choosing = len(prompts) - confirming
    if held_out and min(choosing, confirming) < 2:
        raise ValueError(
            f"held_out={held_out} of {len(prompts)} prompts leaves {choosing} to choose and {confirming} to confirm: two of each are needed"
        )
    return prompts[:choosing], prompts[choosing:]


def choose(
    curve: Curve,
    kl_curve: Curve,
    samples: LamSamples,
    aligned_beta: float | None = None,
    max_kl: float | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Tuning:
    """What `tune` returns, from curves that are there already."""
    limit = math.inf if max_kl is None else max_kl
    columns = len(curve.lams)
    both = bootstrap_means(
        np.concatenate([curve.per_prompt, kl_curve.per_prompt], 1), resamples, seed
    )
    best = _best(curve, curve.mean[None], kl_curve.mean[None], limit)[0]
    chosen = curve.lams[_best(curve, both[:, :columns], both[:, columns:], limit)]
    low, high = (float(x) for x in np.quantile(chosen, [0.025, 0.975], method="nearest"))
    lam = float(curve.lams[best])
    return Tuning(
        lam=lam,
        low=low,
        high=high,
        value=curve.at(best),
        kl=kl_curve.at(best),
        beta=aligned_beta / lam if aligned_beta is not None and lam > 0 else None,
        warnings=_warnings(curve, kl_curve, best, low, high, limit),
        curve=curve,
        kl_curve=kl_curve,
        samples=samples,
    )


def _best(curve: Curve, values: Array, kls: Array, limit: float) -> Any:
    """Index of the best allowed lam in each row, the reference's where none is; values and KLs of shape (rows, G)."""
    allowed = curve.supported & (kls <= limit)
    allowed[:, _reference(curve)] = curve.supported[
        _reference(curve)
    ]  # its KL is 0 whatever the estimate
    best = np.where(allowed, values, -np.inf).argmax(-1)
    return np.where(allowed.any(-1), best, _reference(curve))


def _reference(curve: Curve) -> int:
    """Index of the lam that is, or is nearest to, the reference."""
    return int(np.abs(curve.lams).argmin())


def _warnings(
    curve: Curve, kl_curve: Curve, best: int, low: float, high: float, limit: float
) -> list[str]:
    lams, lam, supported = curve.lams, float(curve.lams[best]), curve.lams[curve.supported]
    if not len(supported):
        return [
            "no lam could be estimated from these completions, so the reference is kept: allow more anchors, samples or prompts"
        ]
    found = []
    if len(curve.per_prompt) < FEW_PROMPTS:
        found.append(
            f"there are only {len(curve.per_prompt)} prompts: every interval here is too narrow"
        )
    if not curve.supported.all():
        left_out = ", ".join(f"{x:g}" for x in lams[~curve.supported])
        found.append(
            f"lam = {left_out} could not be estimated from these completions and was left out: allow more anchors or samples"
        )
    if lam > 1:
        found.append(
            f"lam = {lam:g} extrapolates beyond the aligned model: read completions there, and retrain at that strength if in doubt"
        )
    if kl_curve.high[best] > limit:
        found.append(
            f"the KL at lam = {lam:g} may be above the limit {limit:g}: its interval ends at {kl_curve.high[best]:.3g}"
        )
    within_limit = (
        kl_curve.mean[min(best + 1, len(lams) - 1)] <= limit
    )  # otherwise the limit, not the range, ends the search
    if lam == supported.max() and within_limit:
        found.append(
            f"lam = {lam:g} is the largest that was measured, and a larger one may be better: measure further"
        )
    if lam == supported.min() and lam != 0:
        found.append(
            f"lam = {lam:g} is the smallest that was measured, and a smaller one may be better: measure further"
        )
    if lam == 0:
        found.append("no lam is better than the reference (lam = 0) within the limit")
    if high - low > 0.5 * (lams.max() - lams.min()):
        found.append(
            f"the choice is uncertain (95% interval {low:g} to {high:g}): the metric hardly depends on lam, or there are too few prompts"
        )
    return found
