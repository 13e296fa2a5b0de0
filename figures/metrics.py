"""The user's own metrics against lam: DeRa, retrained models at the matching lam, and the reference."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures import selection, style

PREFIX = "metric:"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row for each metric, a column for each objective that DeRa starts from."""
    policies = tables["policies"]
    names = [name for name in policies.columns if name.startswith(PREFIX) and not name.endswith(("_low", "_high"))]
    objectives = list(dict.fromkeys(policies.loc[policies["kind"] == "dera", "objective"]))
    size = (style.PAGE, 0.5 + 1.9 * len(names))
    figure, grid = plt.subplots(len(names), len(objectives), figsize=size, squeeze=False, sharex=True, sharey="row")
    for row, name in zip(grid, names, strict=True):
        for axes, objective in zip(row, objectives, strict=True):
            for kind, rows in selection.at_matching_lam(policies, objective).items():
                style.with_interval(axes, rows, "lam", name, kind, line=kind == "dera")
            style.mark_ends(axes)
        row[0].set_ylabel(name.removeprefix(PREFIX).replace("_", " "))
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.objective_name(objective))
    for axes in grid[-1]:
        style.wide_lam_axis(axes)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
