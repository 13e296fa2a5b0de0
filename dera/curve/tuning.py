"""Choosing lam: the best mean of a metric under a limit on the KL to the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dera.curve.balance_heuristic import DEFAULT_MIN_ESS
from dera.curve.cautions import cautions
from dera.curve.reweighting import Curve, bootstrap_means, lam_curve, reweighted_kl
from dera.curve.sampled_lams import LamSamples, Metric
from dera.curve.sampling import sample_at_lams
from dera.estimators import Array, Estimate, bootstrap_mean
from dera.model.realigned import RealignedModel
from dera.prompts import as_prompts

#: The lams among which `tune` chooses when the caller names none.
DEFAULT_LAMS = tuple(round(0.1 * i, 1) for i in range(21))


@dataclass(frozen=True)
class Tuning:
    """The chosen mixing weight, and how sure the choice is.

    Attributes:
        lam: the best of the supported lams that keep to the limit.
        low, high: 95% interval of that choice, from resampled prompts.
        value: the metric at lam. The same prompts chose lam, so it is a little optimistic.
        confirmed: the metric at lam on prompts that were held out of the choice, from completions
            decoded at lam; None if no prompts were held out.
        kl: KL to the reference at lam, in nats.
        beta: the strength worth retraining at, `aligned_beta / lam`; None if `aligned_beta` is not
            known or lam is not positive.
        without_limit: the lam that would have been chosen without the limit on the KL; None if that
            is `lam` itself, or there is no limit.
        warnings: what to be careful about, in plain words.
        curve, kl_curve: the metric and the KL at every lam.
        samples: the completions behind the curves.
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
    without_limit: float | None = None


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
    """Find the lam with the highest mean metric, from completions sampled at a few lams.

    Args:
        model, tokenizer, prompts, metric, max_new_tokens, min_ess, seed, options: as for
            `lam_curve`.
        max_kl: the largest KL to the reference allowed, in nats a completion; no limit when absent.
        lams: the candidates. The reference (lam = 0), whose KL is 0, is always one of them.
        held_out: the share of the prompts, taken from their end, that is kept out of the choice of
            lam and confirms it.
        resamples: how many times prompts are resampled; each resample chooses a lam of its own.

    Raises:
        ValueError: if `max_kl` is negative or not a number, or `held_out` leaves fewer than two
            prompts on either side; and as `lam_curve`.
    """
    if max_kl is not None and not max_kl >= 0:
        raise ValueError(f"max_kl must be 0 or more nats, got {max_kl}")
    choosing, confirming = split(as_prompts(prompts), held_out)

    # Choose from the curves of the metric and of the KL.
    common: dict[str, Any] = dict(min_ess=min_ess, seed=seed)
    curve, drawn = lam_curve(
        model, tokenizer, choosing, metric, max_new_tokens, [0.0, *lams], **common, **options
    )
    kl_curve = reweighted_kl(drawn, **common)
    tuning = choose(curve, kl_curve, drawn, model.aligned_beta, max_kl, resamples, seed)
    if not confirming:
        return tuning

    # Confirm the choice on the prompts held out, with completions decoded at the chosen lam.
    decoding = {
        name: options[name]
        for name in ("samples", "batch_size", "progress", "record")
        if name in options
    }
    fresh = sample_at_lams(
        model, tokenizer, confirming, [tuning.lam], max_new_tokens, seed=seed, **decoding
    )
    per_prompt = fresh.judge(metric).mean((1, 2))
    return replace(tuning, confirmed=bootstrap_mean(per_prompt, resamples, seed))


def split(prompts: Sequence[str], held_out: float) -> tuple[Sequence[str], Sequence[str]]:
    """Return the prompts that choose lam, and the prompts held out, which are the last ones.

    Args:
        prompts: all prompts.
        held_out: the share of the prompts to hold out, at least 0 and below 1.

    Raises:
        ValueError: if `held_out` is no such share, or if it leaves fewer than two prompts to choose
            or to confirm.
    """
    if not 0 <= held_out < 1:
        raise ValueError(
            f"held_out must be a share of the prompts, at least 0 and below 1, got {held_out}"
        )
    confirming = round(len(prompts) * held_out)
    choosing = len(prompts) - confirming
    if held_out and min(choosing, confirming) < 2:
        raise ValueError(
            f"held_out={held_out} of {len(prompts)} prompts leaves {choosing} to choose lam and "
            f"{confirming} to confirm it: two of each are needed, so give more prompts or "
            "another share"
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
    """Return what `tune` returns, from curves that have been estimated already."""
    limit = math.inf if max_kl is None else max_kl
    best = int(_best(curve, curve.mean[None], kl_curve.mean[None], limit)[0])
    unlimited = int(_best(curve, curve.mean[None], kl_curve.mean[None], math.inf)[0])
    low, high = _interval_of_choice(curve, kl_curve, limit, resamples, seed)
    lam = float(curve.lams[best])
    return Tuning(
        lam=lam,
        low=low,
        high=high,
        value=curve.at(best),
        kl=kl_curve.at(best),
        beta=aligned_beta / lam if aligned_beta is not None and lam > 0 else None,
        warnings=cautions(curve, kl_curve, best, (low, high), limit),
        curve=curve,
        kl_curve=kl_curve,
        samples=samples,
        without_limit=None if unlimited == best else float(curve.lams[unlimited]),
    )


def _interval_of_choice(
    curve: Curve, kl_curve: Curve, limit: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the 95% interval of the lams that resampled prompts choose."""
    # Both curves are resampled together, so that a resample has the same prompts in each.
    both = np.concatenate([curve.per_prompt, kl_curve.per_prompt], axis=1)
    means = bootstrap_means(both, resamples, seed)
    values = means[:, : len(curve.lams)]
    kls = means[:, len(curve.lams) :]
    chosen = curve.lams[_best(curve, values, kls, limit)]
    low, high = np.quantile(chosen, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def _best(curve: Curve, values: Array, kls: Array, limit: float) -> Any:
    """Return the index of the best allowed lam of each row, or the reference's if none is allowed.

    Args:
        values, kls: shape (rows, G).

    Returns:
        integers of shape (rows,).
    """
    reference = _reference(curve)
    allowed = curve.supported & (kls <= limit)
    # The reference's KL is 0, whatever its estimate is.
    allowed[:, reference] = curve.supported[reference]
    best = np.where(allowed, values, -np.inf).argmax(-1)
    return np.where(allowed.any(-1), best, reference)


def _reference(curve: Curve) -> int:
    """Return the index of lam = 0, which is the reference, or of the lam nearest to 0."""
    return int(np.abs(curve.lams).argmin())
