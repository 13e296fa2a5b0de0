"""The result of `dera tune`, as a table and sentences for people and as JSON for programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from dera.cli.output import interval, table
from dera.curve.reweighting import Curve
from dera.curve.tuning import Tuning


def tuning_table(tuning: Tuning) -> str:
    """Return a table with a line for each lam."""
    lines = [_line(tuning, index) for index in range(len(tuning.curve.lams))]
    return table(["lam", "metric", "KL to reference (nats)", "ESS", "supported", ""], lines)


def choice_text(tuning: Tuning, beta_known: bool) -> str:
    """Return the choice in a few lines.

    Args:
        tuning: the result.
        beta_known: whether the KL strength of the aligned model was given.
    """
    lines = [
        f"\nlam = {tuning.lam:g} (95% interval of the choice {tuning.low:g} to {tuning.high:g})",
        f"metric {interval(tuning.value, '.4g')}, KL to the reference {interval(tuning.kl)} nats",
    ]
    if tuning.without_limit is not None:
        lines.append(_said_of_limit(tuning, tuning.without_limit))
    if tuning.confirmed is not None:
        lines.append(f"on the prompts held out: metric {interval(tuning.confirmed, '.4g')}")
    if tuning.beta is not None:
        lines.append(f"worth retraining at beta = {tuning.beta:.4g}")
    elif not beta_known:
        lines.append("the beta worth retraining at is known once --aligned-beta is given")
    return "\n".join(lines)


def as_json(tuning: Tuning, max_kl: float | None) -> dict[str, Any]:
    """Return the choice and the curves in a form that JSON can hold."""
    curve = [
        {
            "lam": float(lam),
            "metric": _band(tuning.curve, index),
            "kl": _band(tuning.kl_curve, index),
            "ess": _finite_or_none(tuning.curve.ess[index]),
            "supported": bool(tuning.curve.supported[index]),
        }
        for index, lam in enumerate(tuning.curve.lams)
    ]
    return {
        "lam": tuning.lam,
        "low": tuning.low,
        "high": tuning.high,
        "metric": vars(tuning.value),
        "kl": vars(tuning.kl),
        "confirmed": None if tuning.confirmed is None else vars(tuning.confirmed),
        "without_limit": tuning.without_limit,
        "beta": tuning.beta,
        "max_kl": max_kl,
        "sampled_lams": list(tuning.samples.sampled_lams),
        "warnings": tuning.warnings,
        "curve": curve,
    }


def _said_of_limit(tuning: Tuning, lam: float) -> str:
    """Return that the limit on the KL decided, and what would have been chosen without it."""
    index = int(np.flatnonzero(tuning.curve.lams == lam)[0])
    return (
        f"the limit on the KL decided: without it lam = {lam:g} would have been chosen (metric "
        f"{interval(tuning.curve.at(index), '.4g')}, KL {interval(tuning.kl_curve.at(index))} nats)"
    )


def _line(tuning: Tuning, index: int) -> list[str]:
    """Return the table's cells about one lam."""
    lam = tuning.curve.lams[index]
    return [
        f"{lam:g}",
        interval(tuning.curve.at(index), ".4g"),
        interval(tuning.kl_curve.at(index)),
        f"{tuning.curve.ess[index]:.0%}",
        "yes" if tuning.curve.supported[index] else "no",
        "<- chosen" if lam == tuning.lam else "",
    ]


def _band(curve: Curve, index: int) -> dict[str, float | None]:
    """Return a curve's estimate at one lam and its band."""
    return {
        "mean": _finite_or_none(curve.mean[index]),
        "low": _finite_or_none(curve.low[index]),
        "high": _finite_or_none(curve.high[index]),
    }


def _finite_or_none(value: Any) -> float | None:
    """Replace NaN and infinity, which JSON does not have, by None.

    The estimate at a lam that is far from all sampled lams may be either.
    """
    return float(value) if np.isfinite(value) else None
