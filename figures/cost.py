"""What DeRa saves and what it costs: seconds to reach the other strengths, decoding time, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures import style

BLUE, ORANGE = style.POLICIES["retrained"]["color"], style.POLICIES["dera"]["color"]
ONE: dict[str, Any] = dict(color=BLUE)
APART: dict[str, Any] = dict(color=ORANGE, alpha=0.45)
PAIR: dict[str, Any] = dict(color=ORANGE)
KEY = {
    "one model, retrained for each strength": ONE,
    "DeRa, one model and its adapter": APART,
    "DeRa, two models": PAIR,
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a task and objective. Seconds are of one seed, and include decoding the held-out prompts once at each strength."""
    costs = tables["costs"].reset_index(drop=True)
    panels = (
        [_seconds, _decoding, _memory]
        if costs["runs per seed"].gt(1).any()
        else [_decoding, _memory]
    )
    widths = [1.7, 1, 1.1][-len(panels) :]
    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(style.PAGE, 1.1 + 0.42 * len(costs)),
        sharey=True,
        gridspec_kw={"width_ratios": widths},
    )
    for axes, panel in zip(grid, panels, strict=True):
        panel(axes, costs)
    names = [
        f"{task}\n{style.objective_name(name)}"
        for task, name in zip(costs["task"], costs["objective"], strict=True)
    ]
    grid[0].set_yticks(range(len(costs)), names)
    grid[0].invert_yaxis()
    for axes in grid:
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    handles = [Patch(**look, label=label) for label, look in KEY.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _seconds(axes: Axes, costs: pd.DataFrame) -> None:
    """Training and decoding a model for each other strength, against DeRa; an objective of one strength has no others."""
    others = (costs["runs per seed"] - 1).replace(0, np.nan)
    retraining, dera = (
        (costs["seconds a run"] + costs["retrained"]) * others,
        costs["dera"] * others,
    )
    ratio = [
        f"{value:.1f} s, {times:.2g} times less"
        for value, times in zip(dera, retraining / dera, strict=True)
    ]
    _bars(
        axes, [(retraining, ONE, [f"{value:.0f} s" for value in retraining]), (dera, PAIR, ratio)]
    )
    both = pd.concat([retraining, dera])
    axes.set_xscale("log")
    axes.set_xlim(both.min() / 2, both.max() * 4)
    axes.set(xlabel="seconds", title="to reach the other strengths")


def _decoding(axes: Axes, costs: pd.DataFrame) -> None:
    ratio = costs["dera"] / costs["retrained"]
    _bars(axes, [(ratio, PAIR, _times(ratio))])
    axes.set(xlabel="seconds / one model's", title="decoding at one λ")
    _from_one(axes)


def _memory(axes: Axes, costs: pd.DataFrame) -> None:
    one = costs["model bytes"]
    sizes = [(1 + costs["adapter bytes"] / one, APART), (costs["pair bytes"] / one, PAIR)]
    _bars(axes, [(size, look, _times(size)) for size, look in sizes])
    axes.set(xlabel="parameters / one model's", title="parameters held")
    _from_one(axes)


def _from_one(axes: Axes) -> None:
    """A line at what one model takes, and room for the text behind the bars."""
    axes.axvline(1, color=BLUE, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1.2 * axes.get_xlim()[1])


def _times(values: pd.Series) -> list[str]:
    return [f"{value:.2f}×" for value in values]


def _bars(axes: Axes, groups: list[tuple[pd.Series, dict[str, Any], list[str]]]) -> None:
    """In each row one bar a group, with its text behind it; values that are missing have neither."""
    height = 0.8 / len(groups)
    for number, (values, look, texts) in enumerate(groups):
        known = values.notna()
        shift = (number - (len(groups) - 1) / 2) * height
        bars = axes.barh(
            values.index[known] + shift, values[known], height=0.9 * min(height, 0.5), **look
        )
        labels = [text for text, drawn in zip(texts, known, strict=True) if drawn]
        axes.bar_label(bars, labels, padding=2, fontsize=6)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["costs"])
