"""The table of a sweep, from its rows alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dera.cli.output import interval, table
from dera.estimators import Array, Estimate, approximation_gap, bootstrap_mean

RESAMPLES = 1000


#: How the numbers of a column are written.
_SPECS = {"tokens": ".1f", "metric": ".4g"}


def sweep_table(rows: list[dict[str, Any]]) -> str:
    """Return a table with a line for each lam.

    A line has the number of completions, their mean length, KL to the reference and gap to the
    exact mixture. It also has the strength and the metric, where the rows have them.
    """
    lines = []
    for of_lam in rows_by_lam(rows).values():
        first = of_lam[0]
        cells = {"lam": f"{first['lam']:g}"}
        if "beta" in first:
            cells["beta"] = "-" if first["beta"] is None else f"{first['beta']:g}"
        cells["n"] = str(len(of_lam))
        for name, estimate in estimates(of_lam).items():
            # A mean that cannot be computed is written as "-".
            known = math.isfinite(estimate.value)
            cells[name] = interval(estimate, _SPECS.get(name, ".3f")) if known else "-"
        lines.append(cells)
    return table(list(lines[0]), [list(cells.values()) for cells in lines])


def rows_by_lam(rows: list[dict[str, Any]]) -> dict[float, list[dict[str, Any]]]:
    """Return the rows of each lam, in the order in which the lams come."""
    found: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["lam"], []).append(row)
    return found


def estimates(rows: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Return what the rows of one lam say, by the headings of the table's columns.

    One prompt has no interval, and a mean that cannot be computed is NaN.
    """
    log_ratio = _by_prompt(rows, "logp_sampler") - _by_prompt(rows, "logp_reference")
    columns = {
        "tokens": _by_prompt(rows, "tokens").mean(-1),
        "KL to reference (nats)": log_ratio.mean(-1),
        "gap (nats)": _gap(_by_prompt(rows, "log_weight")),
    }
    if "metric" in rows[0]:
        columns["metric"] = _by_prompt(rows, "metric").mean(-1)
    return {name: _mean(per_prompt) for name, per_prompt in columns.items()}


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


def _mean(per_prompt: Array) -> Estimate:
    """Return the mean over prompts with its interval."""
    if not np.isfinite(per_prompt).all():
        return Estimate(np.nan, np.nan, np.nan)
    if len(per_prompt) < 2:
        return Estimate(float(per_prompt.mean()), np.nan, np.nan)
    return bootstrap_mean(per_prompt, RESAMPLES, seed=0)
