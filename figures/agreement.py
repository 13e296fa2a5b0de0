"""Does DeRa agree with retrained models? A matrix of objective by beta for each task: the difference in reward with its interval."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from figures import style

COLORS = {
    "interval within the margin": "#BFE3D5",
    "across it": "#FBE9B7",
    "beyond it": "#F4C7B0",
    "the reference itself would pass": "#EEEEEE",
}
ROW, HEAD = 0.34, 0.75  # inches


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel a task; a row for each objective and anchor, a column a beta; the anchor's own cell is empty."""
    table = tables["agreement"]
    tasks = list(dict.fromkeys(table["task"]))
    rows = [table[table["task"] == task].groupby(["objective", "anchor"]).ngroups for task in tasks]
    height = sum(rows) * ROW + len(tasks) * HEAD
    figure, grid = plt.subplots(
        max(len(tasks), 1),
        1,
        figsize=(style.PAGE, max(height, 1.5)),
        squeeze=False,
        height_ratios=rows or None,
    )
    for axes, task in zip(grid[:, 0], tasks, strict=False):
        _matrix(axes, table[table["task"] == task])
        axes.set_title(f"{task}: retrained - DeRa in reward")
    handles = [Patch(color=color, label=label) for label, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _color(row: Any) -> str:
    if not row.informative:
        return COLORS["the reference itself would pass"]
    if row.equivalent:
        return COLORS["interval within the margin"]
    beyond = row.difference_low > row.margin or row.difference_high < -row.margin
    return COLORS["beyond it" if beyond else "across it"]


def _matrix(axes: Axes, table: pd.DataFrame) -> None:
    pairs = list(dict.fromkeys(zip(table["objective"], table["anchor"], strict=True)))
    betas = sorted(set(table["beta"]) | set(table["anchor"]))
    for row in table.itertuples():
        x, y = betas.index(row.beta), pairs.index((row.objective, row.anchor))
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=_color(row), edgecolor="white")
        )
        text = f"{row.difference:+.3f}\n[{row.difference_low:+.3f}, {row.difference_high:+.3f}]"
        axes.text(x, y, text, ha="center", va="center", size=6)
    for y, (_, anchor) in enumerate(pairs):
        axes.text(
            betas.index(anchor), y, "anchor", ha="center", va="center", size=6, color="#777777"
        )
    margins = table.groupby(["objective", "anchor"])["margin"].first()
    names = [
        f"{style.objective_name(name)}, β₀ = {anchor:g} (±{margins[name, anchor]:g})"
        for name, anchor in pairs
    ]
    axes.set_yticks(range(len(pairs)), names)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set(xlim=(-0.5, len(betas) - 0.5), ylim=(len(pairs) - 0.5, -0.5), xlabel="β")
    axes.grid(False)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["agreement"])
