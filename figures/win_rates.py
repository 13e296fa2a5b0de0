"""Draw win rates by gold: over the default strength, over the reference, and of DeRa over DeRa."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
WHEN = "has_imperfect_reward"
READS = ["win_rates"]
CAPTION = """
A win rate is how often a policy's completion has a higher gold than its opponent's completion of
the same prompt; a tie counts half. Gold is the task's own verdict. Left: the win rates of DeRa at
each mixing weight λ and of retrained models. The opponent is the model at the default strength β₀
(top) or the reference (bottom). A model retrained at another strength β stands at λ = β₀/β, where
DeRa should equal it. Right: DeRa at each λ (rows) against DeRa at each other λ (columns). A number
is bold where its 95% interval leaves out one half.
"""

OPPONENTS = {
    "retrained": "win rate over the model\nretrained at β₀ = {:g}",
    "reference": "win rate over\nthe reference",
}
#: About how many inches a side of the matrix has.
MATRIX_SIDE = 3.2
#: Sizes in points. Numbers that would be smaller than the minimum are not written.
MIN_SIZE = 4.5
MAX_SIZE = 6.5


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw for each objective two panels at the left, one for each opponent, and a matrix."""
    rates = selection.with_dera(tables["win_rates"])
    objectives = list(dict.fromkeys(rates["objective"]))

    # The matrix of an objective is as high as its two other panels.
    layout: list[Any] = []
    for objective in objectives:
        for opponent in OPPONENTS:
            layout.append([f"{opponent} {objective}", f"matrix {objective}"])
    figure = plt.figure(figsize=(style.PAGE, 0.5 + 3.4 * len(objectives)))
    mosaic: dict[str, Axes] = figure.subplot_mosaic(layout, width_ratios=[1, 1.45])

    for objective in objectives:
        of_objective = rates[rates["objective"] == objective]
        left = [mosaic[f"{opponent} {objective}"] for opponent in OPPONENTS]
        _opponents(left, of_objective)
        against_dera = of_objective["against_kind"] == "dera"
        of_dera = of_objective[(of_objective["kind"] == "dera") & against_dera]
        _matrix(mosaic[f"matrix {objective}"], of_dera)
    figure.align_ylabels()
    figure.set_layout_engine("constrained", wspace=0.06)
    figure.legend(*left[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return DeRa's highest win rate over the model at the default strength."""
    rates = selection.with_dera(tables["win_rates"])
    over_default = rates[(rates["kind"] == "dera") & (rates["against_kind"] == "retrained")]
    if not len(over_default):
        return ""
    best = over_default.loc[over_default["win_rate"].idxmax()]
    return (
        "DeRa's highest win rate over the model at the default strength is "
        f"{best['win_rate']:.2f}, at λ = {best['lam']:g} "
        f"({style.objective_name(best['objective'])})."
    )


def _opponents(column: list[Axes], rates: pd.DataFrame) -> None:
    """Draw one objective's win rates over each opponent, one panel below the other."""
    # Only the DeRa of the default anchor is an opponent, so its anchor is the default strength.
    default = rates.loc[rates["against_kind"] == "dera", "against_anchor"].iloc[0]
    for axes, (opponent, label) in zip(column, OPPONENTS.items(), strict=True):
        _against_lam(axes, rates[rates["against_kind"] == opponent], default)
        axes.set_ylabel(label.format(default))
    column[0].sharex(column[1])
    column[0].tick_params(labelbottom=False)
    column[0].set_xlabel("")
    objective = style.objective_name(rates["objective"].iloc[0])
    column[0].set_title(f"{objective}, β₀ = {default:g}")


def _against_lam(axes: Axes, rates: pd.DataFrame, default: float) -> None:
    """Draw DeRa from the default anchor, and the other policies at the lam that match them."""
    dera = selection.at_anchor(rates[rates["kind"] == "dera"], default)
    retrained = rates[rates["kind"] == "retrained"]
    retrained = retrained.assign(lam=default / retrained["beta"])
    reference = rates[rates["kind"] == "reference"].assign(lam=0.0)

    style.with_interval(axes, dera, "lam", "win_rate", "dera")
    marks: dict[str, Any] = dict(line=False, label="retrained, at λ = β₀/β")
    style.with_interval(axes, retrained, "lam", "win_rate", "retrained", **marks)
    style.with_interval(axes, reference, "lam", "win_rate", "reference", line=False)
    even = dict(color="#000000", linewidth=0.8, linestyle="--", label="as good as the opponent")
    axes.axhline(0.5, **even)
    panels.mark_ends(axes)
    panels.wide_lam_axis(axes)


def _matrix(axes: Axes, rates: pd.DataFrame) -> None:
    """Draw the win rate of the row's lam over the column's lam."""
    by_lam: dict[str, Any] = dict(index="lam", columns="against_lam")
    value = rates.pivot(values="win_rate", **by_lam)
    low = rates.pivot(values="win_rate_low", **by_lam)
    high = rates.pivot(values="win_rate_high", **by_lam)

    # The colours are symmetric around one half.
    reach = max(float((value - 0.5).abs().max(axis=None)), 0.01)
    image = axes.imshow(value, cmap="BrBG", vmin=0.5 - reach, vmax=0.5 + reach, origin="lower")
    _write(axes, value.to_numpy(), ((low > 0.5) | (high < 0.5)).to_numpy(), reach)

    places = range(len(value))
    names = [f"{lam:g}" for lam in value.index]
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("λ of the opponent")
    axes.set_ylabel("λ of DeRa")
    label = "win rate (bold: the interval leaves out 0.5)"
    axes.figure.colorbar(image, ax=axes, shrink=0.6, label=label)


def _write(axes: Axes, value: np.ndarray, decided: np.ndarray, reach: float) -> None:
    """Write the win rates into the matrix, bold where they are decided, if they fit."""
    size = min(MAX_SIZE, 36 * MATRIX_SIDE / len(value))  # three characters fill a cell
    if size < MIN_SIZE:
        return
    for (row, column), rate in np.ndenumerate(value):
        color = "white" if abs(rate - 0.5) > 0.65 * reach else "black"
        weight = "bold" if decided[row, column] else "normal"
        look: dict[str, Any] = dict(size=size, color=color, weight=weight, ha="center", va="center")
        axes.text(column, row, f"{rate:.2f}".removeprefix("0"), **look)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
