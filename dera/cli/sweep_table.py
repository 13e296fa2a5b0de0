"""The table of a sweep, from its rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from dera.cli.output import interval, table
from dera.estimators import Array, Estimate, approximation_gap, bootstrap_mean

RESAMPLES = 1000


def sweep_table(rows: list[dict[str, Any]]) -> str:
    """Return a table with a line for each lam.

    A line has the number of completions, their mean length, KL to the reference and gap to the
    exact mixture. It also has the strength and the metric, where the rows have them.
    """
    rows_by_lam: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        rows_by_lam.setdefault(row["lam"], []).append(row)
    cells_by_lam = [_cells(rows_of_lam) for rows_of_lam in rows_by_lam.values()]
    header = list(cells_by_lam[0])
    return table(header, [list(cells.values()) for cells in cells_by_lam])


def _cells(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the cells of the line about one lam, by their columns' headings."""
    first = rows[0]
    log_ratio = _by_prompt(rows, "logp_sampler") - _by_prompt(rows, "logp_reference")
    cells = {"lam": f"{first['lam']:g}"}
    if "beta" in first:
        cells["beta"] = "-" if first["beta"] is None else f"{first['beta']:g}"
    cells["n"] = str(len(rows))
    cells["tokens"] = _mean(_by_prompt(rows, "tokens").mean(-1), ".1f")
    cells["KL to reference (nats)"] = _mean(log_ratio.mean(-1))
    cells["gap (nats)"] = _mean(_gap(_by_prompt(rows, "log_weight")))
    if "metric" in first:
        cells["metric"] = _mean(_by_prompt(rows, "metric").mean(-1), ".4g")
    return cells


def _by_prompt(rows: list[dict[str, Any]], name: str) -> Array:
    """Return one column in the shape (prompts, samples).

    A null, which stands for minus infinity, becomes NaN: its mean has no useful interval.
    """
    prompts = len({row["prompt_id"] for row in rows})
    return np.array([row[name] for row in rows], dtype=float).reshape(prompts, -1)


def _gap(log_weights: Array) -> Array:
    """Return each prompt's gap to the exact mixture, shape (prompts,); NaN for a single sample."""
    prompts, samples = log_weights.shape
    return approximation_gap(log_weights) if samples > 1 else np.full(prompts, np.nan)


def _mean(per_prompt: Array, spec: str = ".3f") -> str:
    """Return the mean over prompts with its interval.

    One prompt has no interval, and a mean that cannot be computed is written as "-".
    """
    if not np.isfinite(per_prompt).all():
        return "-"
    if len(per_prompt) < 2:
        return interval(Estimate(float(per_prompt.mean()), np.nan, np.nan), spec)
    return interval(bootstrap_mean(per_prompt, RESAMPLES, seed=0), spec)
