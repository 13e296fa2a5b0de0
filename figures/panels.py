"""How the panels of a figure are placed, which axes they have, and what legend they share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from figures import style

#: Columns of panels that stand side by side at most; further columns stand below them.
MAX_COLUMNS = 3
#: How the mixing weight is written along an axis.
LAM = "mixing weight λ"


def columns_of_panels(
    count: int, rows: int, height: float, **options: Any
) -> tuple[Figure, list[Any]]:
    """Return a figure of `count` columns of `rows` panels each.

    Where there are more than MAX_COLUMNS columns, they are laid out in blocks, one below the other.

    Args:
        count: number of columns.
        rows: number of panels in a column.
        height: height of one block in inches.
        options: passed on to `plt.subplots`.

    Returns:
        The figure, and for each column the array of its axes, from top to bottom.
    """
    blocks = math.ceil(count / MAX_COLUMNS)
    across = math.ceil(count / blocks)
    size = (style.PAGE, height * blocks)
    figure, all_axes = plt.subplots(rows * blocks, across, figsize=size, squeeze=False, **options)

    # Cut the panels into columns, block by block.
    columns = []
    for number in range(blocks * across):
        block, place = divmod(number, across)
        columns.append(all_axes[block * rows : (block + 1) * rows, place])

    # The last block may have places that no column needs.
    for column in columns[count:]:
        for axes in column:
            axes.set_visible(False)
    return figure, columns[:count]


def label_rows(columns: list[Any], labels: list[str]) -> None:
    """Label the vertical axes of `columns_of_panels`, only at the left of each row."""
    for column in columns:
        for axes, label in zip(column, labels, strict=True):
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel(label)


def share_legend(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """Write one legend above the figure that has every label of these panels once."""
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def lam_axis(axes: Axes) -> None:
    """Make the horizontal axis one of mixing weights with ticks at whole numbers."""
    axes.set_xlabel(LAM)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def wide_lam_axis(axes: Axes) -> None:
    """Make the horizontal axis one of mixing weights that reaches far outside [0, 1].

    The axis is linear in [-1, 1], where the lam that match a strength lie close together. It is
    logarithmic outside.
    """
    axes.set_xlabel(LAM)
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=1.25)
    axes.xaxis.set_major_locator(FixedLocator([-8, -4, -2, -1, 0, 0.5, 1, 2, 4, 8, 16]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def mark_ends(axes: Axes) -> None:
    """Draw dotted lines at lam = 0 (the reference) and lam = 1 (the aligned model)."""
    for lam in (0, 1):
        axes.axvline(lam, color="#999999", linewidth=0.8, linestyle=":", zorder=0)


def beta_axis(axes: Axes, betas: list[float]) -> None:
    """Make the horizontal axis a logarithmic one of strengths with ticks at `betas`."""
    axes.set_xscale("log")
    axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axes.minorticks_off()
