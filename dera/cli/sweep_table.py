"""The table of a sweep, from its rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from dera.cli.output import interval, table
from dera.estimators import Array, Estimate, approximation_gap, bootstrap_mean

RESAMPLES = 1000


def sweep_table(rows: list[dict[str, Any]]) -> str:
    """A line a lam: completions, their mean length, KL to the reference, gap to the exact mixture, and metric."""
    lams = list(dict.fromkeys(row["lam"] for row in rows))
    with_beta, with_metric = "beta" in rows[0], "metric" in rows[0]
    header = [
        "lam",
        *["beta"] * with_beta,
        "n",
        "tokens",
        "KL to reference (nats)",
        "gap (nats)",
        *["metric"] * with_metric,
    ]
    lines = []
    for lam in lams:
        at = [row for row in rows if row["lam"] == lam]
        reference, sampler, log_weight = (
            _per_prompt(at, name) for name in ("logp_reference", "logp_sampler", "log_weight")
        )
        gap = (
            approximation_gap(log_weight)
            if log_weight.shape[1] > 1
            else np.full(len(log_weight), np.nan)
        )
        line = [
            f"{lam:g}",
            str(len(at)),
            _mean(_per_prompt(at, "tokens").mean(-1), ".1f"),
            _mean((sampler - reference).mean(-1)),
            _mean(gap),
        ]
        if with_beta:
            line.insert(1, "-" if at[0]["beta"] is None else f"{at[0]['beta']:g}")
        lines.append(
            [*line, _mean(_per_prompt(at, "metric").mean(-1), ".4g")] if with_metric else line
        )
    return table(header, lines)


def _per_prompt(rows: list[dict[str, Any]], name: str) -> Array:
    """One column, shape (prompts, samples); null, minus infinity, as NaN: its mean has no useful interval."""
    prompts = len({row["prompt_id"] for row in rows})
    return np.array([row[name] for row in rows], dtype=float).reshape(prompts, -1)


def _mean(per_prompt: Array, spec: str = ".3f") -> str:
    """Mean over prompts with its interval; without the interval for one prompt, and "-" where it cannot be computed."""
    if not np.isfinite(per_prompt).all():
        return "-"
    if len(per_prompt) < 2:
        return interval(Estimate(float(per_prompt.mean()), np.nan, np.nan), spec)
    return interval(bootstrap_mean(per_prompt, RESAMPLES, seed=0), spec)
