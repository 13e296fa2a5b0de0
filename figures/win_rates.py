"""Win rates by gold over the default strength and over the reference, and of DeRa at every lam against every other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style

BASELINES = {
    "retrained": "win rate over the\nretrained at β₀ = {:g}",
    "reference": "win rate over\nthe reference",
}
MATRIX = 3.2  # side in inches, about
SMALLEST = 4.5  # points: smaller numbers are not written


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two rows an objective at the left (against lam, one a opponent), its matrix at the right."""
    rates = selection.realigned(tables["win_rates"])
    objectives = list(dict.fromkeys(rates["objective"]))
    figure = plt.figure(figsize=(style.PAGE, 0.5 + 3.4 * len(objectives)))
    rows: list[Any] = [
        [f"{opponent} {objective}", f"matrix {objective}"]
        for objective in objectives
        for opponent in BASELINES
    ]
    panels: dict[str, Axes] = figure.subplot_mosaic(rows, width_ratios=[1, 1.45])
    for objective in objectives:
        mine = rates[rates["objective"] == objective]
        default = mine.loc[mine["against_kind"] == "dera", "against_anchor"].iloc[0]
        lines = [panels[f"{opponent} {objective}"] for opponent in BASELINES]
        for axes, (opponent, label) in zip(lines, BASELINES.items(), strict=True):
            _against_lam(axes, mine[mine["against_kind"] == opponent], default)
            axes.set_ylabel(label.format(default))
        lines[0].sharex(lines[1])
        lines[0].tick_params(labelbottom=False)
        lines[1].set_xlabel("mixing weight λ")
        lines[0].set_title(f"{style.objective_name(objective)}, β₀ = {default:g}")
        _matrix(
            panels[f"matrix {objective}"],
            mine[(mine["kind"] == "dera") & (mine["against_kind"] == "dera")],
        )
    figure.align_ylabels()
    figure.set_layout_engine("constrained", wspace=0.06)
    figure.legend(*lines[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _against_lam(axes: Axes, rates: pd.DataFrame, default: float) -> None:
    """DeRa from the default strength's anchor, and the other policies at the lam that matches them."""
    reference, retrained = (rates[rates["kind"] == kind] for kind in ("reference", "retrained"))
    dera = rates[(rates["kind"] == "dera") & np.isclose(rates["anchor"], default)]
    style.with_interval(axes, dera, "lam", "win_rate", "dera")
    style.with_interval(
        axes,
        retrained.assign(lam=default / retrained["beta"]),
        "lam",
        "win_rate",
        "retrained",
        line=False,
    )
    style.with_interval(axes, reference.assign(lam=0.0), "lam", "win_rate", "reference", line=False)
    axes.containers[1].set_label("retrained at λ = β₀/β")
    axes.axhline(0.5, color="#000000", linewidth=0.8, linestyle="--", label="as good as the other")
    style.mark_ends(axes)
    style.wide_lam_axis(axes)


def _matrix(axes: Axes, rates: pd.DataFrame) -> None:
    """Win rate of the row's lam over the column's; bold where the 95% interval leaves 0.5 out."""
    value, low, high = (
        rates.pivot(index="lam", columns="against_lam", values=name)
        for name in ("win_rate", "win_rate_low", "win_rate_high")
    )
    most = max(float((value - 0.5).abs().max(axis=None)), 0.01)
    image = axes.imshow(value, cmap="BrBG", vmin=0.5 - most, vmax=0.5 + most, origin="lower")
    size = min(6.5, 36 * MATRIX / len(value))  # three characters fill the cell
    if size >= SMALLEST:
        decided = (low > 0.5) | (high < 0.5)
        for (row, column), rate in np.ndenumerate(value.to_numpy()):
            axes.text(
                column,
                row,
                f"{rate:.2f}".removeprefix("0"),
                size=size,
                ha="center",
                va="center",
                color="white" if abs(rate - 0.5) > 0.65 * most else "black",
                weight="bold" if decided.iloc[row, column] else "normal",
            )
    ticks, labels = range(len(value)), [f"{lam:g}" for lam in value.index]
    axes.set_xticks(ticks, labels, rotation=90)
    axes.set_yticks(ticks, labels)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("… against λ")
    axes.set_ylabel("DeRa at λ …")
    axes.figure.colorbar(
        image, ax=axes, shrink=0.6, label="win rate (bold: interval leaves out 0.5)"
    )


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["win_rates"])
