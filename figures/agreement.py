"""Draw whether DeRa agrees with retrained models: a matrix of objectives and betas for each task.

Each cell has the KL from the retrained model to DeRa above the floor, as a share of the KL from the
retrained model to the reference.
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
DeRa starts from the model aligned at the strength β₀ of the row, its anchor, of another training
seed. The cell gives KL(retrained || DeRa), less the KL between retrained models of two seeds (the
floor), as a share of KL(retrained || reference), with its 95% interval over seeds and prompts. It
is 0% where DeRa is as close as another seed of the retrained model, and 100% where DeRa is no
closer than the reference, which needs no alignment. The criterion allows the share in the title. A
cell is green where the whole interval lies below it, red where it lies above, and yellow where
the study is too small to tell. It is grey where the beta does not count: the retrained model is
hardly further from the reference than from another seed, or the training has not reached the
optimum (marked by a star).
"""

COLORS = {
    "below what is allowed": "#BFE3D5",
    "cannot tell": "#FBE9B7",
    "above what is allowed": "#F4C7B0",
    "does not count": "#EEEEEE",
}
BELOW, OPEN, ABOVE, NOT_COUNTED = COLORS
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

    if not tasks:
        axes = all_axes[0, 0]
        axes.text(0.5, 0.5, "No model has a second strength to compare DeRa with.", ha="center")
        axes.set_axis_off()
    for axes, task in zip(all_axes[:, 0], tasks, strict=False):
        _matrix(axes, table[table["task"] == task])
        of_task = table[table["task"] == task]
        allowed = of_task["share"].iloc[0]
        axes.set_title(f"{task}: KL to DeRa above the floor (at most {allowed:.0%} is allowed)")
    handles = [Patch(color=color, label=label) for label, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return how many comparisons that count lie below what is allowed, above it, and open."""
    colors = [_color(cell) for cell in tables["agreement"].itertuples()]
    below, open_, above = (colors.count(COLORS[name]) for name in (BELOW, OPEN, ABOVE))
    if not below + open_ + above:
        return ""
    return (
        f"Of {below + open_ + above} comparisons that count, DeRa is close enough in {below} and "
        f"too far in {above}; {open_} cannot be told."
    )


def _color(cell: Any) -> str:
    """Return the colour of a cell, a row of the table."""
    if not (cell.informative and cell.premise):
        return COLORS[NOT_COUNTED]
    if cell.excess_high < cell.share:
        return COLORS[BELOW]
    return COLORS[ABOVE if cell.excess_low > cell.share else OPEN]


def _matrix(axes: Axes, table: pd.DataFrame) -> None:
    """Draw one task. The cell of an anchor itself has no number."""
    pairs = list(dict.fromkeys(zip(table["objective"], table["anchor"], strict=True)))
    betas = sorted(set(table["beta"]) | set(table["anchor"]))
    middle: dict[str, Any] = dict(ha="center", va="center", size=6)

    # The cells: a colour, the share, and its interval below it.
    for cell in table.itertuples():
        x = betas.index(cell.beta)
        y = pairs.index((cell.objective, cell.anchor))
        square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=_color(cell), edgecolor="white")
        axes.add_patch(square)
        star = "" if cell.premise else "*"
        interval = f"[{cell.excess_low:.0%}, {cell.excess_high:.0%}]"
        axes.text(x, y, f"{cell.excess:.0%}{star}\n{interval}", **middle)
    for y, (_, anchor) in enumerate(pairs):
        axes.text(betas.index(anchor), y, "anchor", color="#777777", **middle)

    # The names of the rows and columns.
    names = []
    for objective, anchor in pairs:
        names.append(f"{style.objective_name(objective)}, β₀ = {anchor:g}")
    axes.set_yticks(range(len(pairs)), names)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set(xlim=(-0.5, len(betas) - 0.5), ylim=(len(pairs) - 0.5, -0.5))
    axes.set_xlabel("strength β of the retrained model")
    axes.grid(False)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
