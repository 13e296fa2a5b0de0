"""What to be careful about in a choice of lam, in plain words."""

from __future__ import annotations

from dera.curve.reweighting import Curve
from dera.estimators import FEW_PROMPTS

#: A choice is uncertain if its interval is wider than this share of the range of lams.
WIDE_SHARE = 0.5


def cautions(
    curve: Curve, kl_curve: Curve, best: int, interval: tuple[float, float], limit: float
) -> list[str]:
    """Return a sentence for everything that casts doubt on the choice of one lam.

    Args:
        curve, kl_curve: the metric and the KL at every lam.
        best: the index of the lam that was chosen.
        interval: 95% interval of the choice.
        limit: the largest KL allowed, in nats; infinite if there is no limit.
    """
    if not curve.supported.any():
        return [
            "no lam could be estimated from these completions, so the reference is kept: "
            "allow more sampled lams, samples or prompts"
        ]
    return [
        *_about_the_evidence(curve),
        *_about_the_chosen_lam(curve, kl_curve, best, limit),
        *_about_the_ends_of_the_range(curve, kl_curve, best, limit),
        *_about_the_interval(curve, interval),
    ]


def _about_the_evidence(curve: Curve) -> list[str]:
    texts = []
    prompts = len(curve.per_prompt)
    if prompts < FEW_PROMPTS:
        texts.append(
            f"there are only {prompts} prompts, so every interval here is too narrow: "
            f"give at least {FEW_PROMPTS}"
        )
    if not curve.supported.all():
        left_out = ", ".join(f"{lam:g}" for lam in curve.lams[~curve.supported])
        texts.append(
            f"lam = {left_out} could not be estimated from these completions and was left out: "
            "allow more sampled lams or samples"
        )
    return texts


def _about_the_chosen_lam(curve: Curve, kl_curve: Curve, best: int, limit: float) -> list[str]:
    texts = []
    lam = float(curve.lams[best])
    if lam > 1:
        texts.append(
            f"lam = {lam:g} extrapolates beyond the aligned model: "
            "read completions there, and retrain at that strength if in doubt"
        )
    if kl_curve.high[best] > limit:
        texts.append(
            f"the KL at lam = {lam:g} may be above the limit {limit:g}: "
            f"its interval ends at {kl_curve.high[best]:.3g}"
        )
    return texts


def _about_the_ends_of_the_range(
    curve: Curve, kl_curve: Curve, best: int, limit: float
) -> list[str]:
    texts = []
    lam = float(curve.lams[best])
    supported = curve.lams[curve.supported]
    # If the next larger lam is above the limit, the limit ended the search and not the range.
    next_larger = min(best + 1, len(curve.lams) - 1)
    next_is_allowed = kl_curve.mean[next_larger] <= limit
    if lam == supported.max() and next_is_allowed:
        texts.append(
            f"lam = {lam:g} is the largest that was measured, and a larger one may be better: "
            "measure larger ones too"
        )
    if lam == supported.min() and lam != 0:
        texts.append(
            f"lam = {lam:g} is the smallest that was measured, and a smaller one may be better: "
            "measure smaller ones too"
        )
    if lam == 0:
        texts.append("no lam is better than the reference (lam = 0) within the limit")
    return texts


def _about_the_interval(curve: Curve, interval: tuple[float, float]) -> list[str]:
    low, high = interval
    if high - low <= WIDE_SHARE * (curve.lams.max() - curve.lams.min()):
        return []
    return [
        f"the choice is uncertain (95% interval {low:g} to {high:g}), because the metric hardly "
        "depends on lam or there are too few prompts: give more prompts or samples"
    ]
