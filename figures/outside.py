"""DeRa far outside [0, 1]: whether completions are still whole, fluent and good, a column a task."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures import selection, style

LABELS = {
    "broken": "broken\n(share)",
    "fluency": "fluency\n(nats a token)",
    "length": "length\n(tokens)",
    "repetition": "repeated\ntrigrams (share)",
    "gold": "mean gold\njudgement",
}
SHARES = ("broken", "repetition")
BETWEEN: dict[str, Any] = dict(color="#DDDDDD", alpha=0.6, linewidth=0)


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A row a measure, a line an objective: DeRa over the grid of lam of the objective's grid anchor; [0, 1] is shaded."""
    policies = selection.realigned(tables["policies"])
    looks = style.objective_looks(policies["objective"])
    tasks = list(dict.fromkeys(policies["task"]))
    figure, grid = plt.subplots(
        len(LABELS), len(tasks), figsize=(style.PAGE, 6.4), squeeze=False, sharex=True
    )
    for column, task in zip(grid.T, tasks, strict=True):
        mine = policies[policies["task"] == task]
        for axes, measure in zip(column, LABELS, strict=True):
            for objective in dict.fromkeys(mine["objective"]):
                _line(axes, selection.of_default_anchor(mine, objective), measure, looks[objective])
            axes.axvspan(0, 1, **BETWEEN, zorder=0)
            if measure in SHARES:
                axes.set_ylim(-0.04, 1.04)
        column[0].set_title(task)
        style.wide_lam_axis(column[-1])
    for axes, measure in zip(grid[:, 0], LABELS, strict=True):
        axes.set_ylabel(LABELS[measure])
    figure.align_ylabels(grid[:, 0])
    handles = [
        plt.Line2D(
            [],
            [],
            **_look(look),
            color=style.POLICIES["dera"]["color"],
            label=f"DeRa, {style.objective_name(name)}",
        )
        for name, look in looks.items()
    ]
    between = Patch(**BETWEEN, label="reference (λ = 0) to anchor (λ = 1)")
    figure.legend(
        handles=[*handles, between], loc="outside upper center", ncols=min(len(handles) + 1, 5)
    )
    return figure


def _line(axes: Axes, rows: pd.DataFrame, measure: str, look: dict[str, Any]) -> None:
    if rows[measure].notna().any():
        style.with_interval(axes, rows, "lam", measure, "dera", **_look(look))


def _look(look: dict[str, Any]) -> dict[str, Any]:
    """Hollow marks for all but the first objective: the colour is DeRa's in each case."""
    return {
        **look,
        "markersize": 3,
        "markerfacecolor": None if look is style.OBJECTIVES[0] else "white",
    }


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
