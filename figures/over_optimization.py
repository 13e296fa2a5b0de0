"""Proxy against gold: the reward that was maximised, and gold, over the distance from the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A column for each objective that maximised something else than gold; reward above, gold below; DeRa at readable lam."""
    policies = selection.realigned(tables["policies"])
    mean = policies[policies["seed"].astype(str) == "mean"]
    objectives = [
        name
        for name, rows in mean.groupby("objective", sort=False)
        if not np.allclose(rows["reward"], rows["gold"])
    ]
    colors = style.beta_colors(list(mean.loc[mean["kind"] == "retrained", "beta"].unique()))
    figure, grid = plt.subplots(
        2, len(objectives), figsize=(style.PAGE, 4.4), squeeze=False, sharex="col"
    )
    for column, objective in zip(grid.T, objectives, strict=True):
        reference, optimum, retrained = (
            selection.supported(mean[(mean["objective"] == objective) & (mean["kind"] == kind)])
            for kind in ("reference", "optimum", "retrained")
        )
        dera = selection.readable(selection.of_default_anchor(policies, objective))
        anchor, name = dera["anchor"].iloc[0], f"DeRa, λ from 0 to {dera['lam'].max():g}"
        for axes, quantity in zip(column, ("reward", "gold"), strict=True):
            if len(optimum):
                style.with_interval(axes, optimum, "kl", quantity, "optimum", x_interval=True)
            style.with_interval(
                axes, dera, "kl", quantity, "dera", x_interval=True, order="lam", label=name
            )
            style.with_interval(axes, reference, "kl", quantity, "reference", line=False)
            _retrained(axes, retrained, quantity, anchor, colors)
            axes.set_ylabel(style.QUANTITIES[quantity])
        shown = pd.concat([dera, retrained, optimum])
        _distance_axis(column[1], shown["kl_low"].min(), shown["kl_high"].max())
        column[0].set_title(f"{style.objective_name(objective)}, β₀ = {anchor:g}")
        column[1].set_xlabel(style.QUANTITIES["kl"])
    figure.align_ylabels()
    handles = {
        label: handle
        for axes in grid[0]
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5)
    return figure


def _retrained(
    axes: Axes, rows: pd.DataFrame, quantity: str, default: float, colors: dict[float, tuple]
) -> None:
    """Filled with the strength's colour; a ring round the default strength."""
    style.with_interval(
        axes, rows, "kl", quantity, "retrained", line=False, x_interval=True, label="_"
    )
    edge = style.POLICIES["retrained"]["color"]
    for _, row in rows.sort_values("beta").iterrows():
        label = f"retrained, β = {row['beta']:g}"
        axes.plot(
            row["kl"],
            row[quantity],
            "o",
            color=colors[row["beta"]],
            markeredgecolor=edge,
            markersize=5,
            label=label,
            zorder=4,
        )
    rows = rows[np.isclose(rows["beta"], default)]
    axes.plot(
        rows["kl"],
        rows[quantity],
        "o",
        color="black",
        markerfacecolor="none",
        markersize=11,
        label="default strength β₀",
    )


def _distance_axis(axes: Axes, least: float, most: float) -> None:
    """Square root of the distance, which spreads what is near the reference; sampled distances may be a little below 0."""
    axes.set_xscale(
        "function",
        functions=(lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * x**2),
    )
    ticks = [0.0]
    for tick in (digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)):
        if np.sqrt(ticks[-1]) + 0.1 * np.sqrt(most) < np.sqrt(tick) <= np.sqrt(most):
            ticks.append(tick)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(min(least, 0) - 0.002 * most, 1.08 * most)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
