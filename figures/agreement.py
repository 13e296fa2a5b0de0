"""Draw whether DeRa agrees with retrained models: a matrix of objectives and betas for each task.

Each cell has the difference in reward with its interval.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from figures import style

SCOPE = "study"
READS = ["agreement"]
CAPTION = """
Each cell compares a model retrained at the strength β with DeRa at the same effective strength.
DeRa starts from the model aligned at the strength β₀ of the row, its anchor. The cell gives the
mean reward of the retrained model minus that of DeRa, with the 95% interval over prompts. The
margin within which two rewards count as equal stands in brackets beside the objective. A cell is
green where the whole interval lies within the margin, and red where the whole interval lies beyond
it. It is yellow where the interval crosses the margin, so that the study is too small to tell. It
is grey where the reference, which needs no training and no mixing, would also lie within the
margin.
"""

COLORS = {
    "within the margin": "#BFE3D5",
    "across the margin": "#FBE9B7",
    "beyond the margin": "#F4C7B0",
    "the reference would pass, too": "#EEEEEE",
}
WITHIN, ACROSS, BEYOND, UNINFORMATIVE = COLORS
#: Inches of the height of a row, and of a panel's title and axis.
ROW_HEIGHT = 0.34
HEAD_HEIGHT = 0.75


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a panel for each task; rows are objectives and anchors, columns are betas."""
    table = tables["agreement"]
    tasks = list(dict.fromkeys(table["task"]))

    # The height of each panel follows from its number of rows.
    rows = [table[table["task"] == task].groupby(["objective", "anchor"]).ngroups for task in tasks]
    height = sum(rows) * ROW_HEIGHT + len(tasks) * HEAD_HEIGHT
    figure, all_axes = plt.subplots(
        max(len(tasks), 1),
        1,
        figsize=(style.PAGE, max(height, 1.5)),
        squeeze=False,
        height_ratios=rows or None,
    )

    for axes, task in zip(all_axes[:, 0], tasks, strict=False):
        _matrix(axes, table[table["task"] == task])
        axes.set_title(f"{task}: reward of the retrained model minus reward of DeRa")
    handles = [Patch(color=color, label=label) for label, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _color(cell: Any) -> str:
    """Return the colour of a cell, a row of the table."""
    if not cell.informative:
        return COLORS[UNINFORMATIVE]
    if cell.equivalent:
        return COLORS[WITHIN]
    beyond = cell.difference_low > cell.margin or cell.difference_high < -cell.margin
    return COLORS[BEYOND if beyond else ACROSS]


def _matrix(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one task. The cell of an anchor itself has no number."""
    pairs = list(dict.fromkeys(zip(table["objective"], table["anchor"], strict=True)))
    betas = sorted(set(table["beta"]) | set(table["anchor"]))
    middle: dict[str, Any] = dict(ha="center", va="center", size=6)

    # The cells: a colour, the difference, and its interval below it.
    for cell in table.itertuples():
        x = betas.index(cell.beta)
        y = pairs.index((cell.objective, cell.anchor))
        square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=_color(cell), edgecolor="white")
        axes.add_patch(square)
        interval = f"[{cell.difference_low:+.3f}, {cell.difference_high:+.3f}]"
        axes.text(x, y, f"{cell.difference:+.3f}\n{interval}", **middle)
    for y, (_, anchor) in enumerate(pairs):
        axes.text(betas.index(anchor), y, "anchor", color="#777777", **middle)

    # The names of the rows and columns.
    margins = table.groupby(["objective", "anchor"])["margin"].first()
    names = []
    for objective, anchor in pairs:
        name = style.objective_name(objective)
        names.append(f"{name}, β₀ = {anchor:g} (±{margins[objective, anchor]:g})")
    axes.set_yticks(range(len(pairs)), names)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set(xlim=(-0.5, len(betas) - 0.5), ylim=(len(pairs) - 0.5, -0.5))
    axes.set_xlabel("strength β of the retrained model")
    axes.grid(False)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
