"""Hallucination and what its control costs, against lam; and the trade between hallucination and coverage."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from figures import selection, style

PANELS = {
    "hallucinated": "answers that\nhallucinate (share)",
    "coverage": "coverage\n(share of facts)",
    "fluency": "fluency\n(nats a token)",
    "length": "length\n(tokens)",
}
SHARES = ("hallucinated", "coverage")
ROOM = 30, 11  # points across and up that a label needs


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A column an objective: the four measures against lam, and below them the trade-off."""
    policies = selection.realigned(tables["policies"])
    objectives = list(dict.fromkeys(policies["objective"].dropna()))
    found = {objective: selection.at_matching_lam(policies, objective) for objective in objectives}
    figure = plt.figure(figsize=(style.PAGE, 7.6))
    heights = [1] * len(PANELS) + [2.2]
    panels = figure.subplots(
        len(heights), len(objectives), squeeze=False, sharey="row", height_ratios=heights
    )
    for column, (objective, mine) in zip(panels.T, found.items(), strict=True):
        for axes, (name, label) in zip(column, PANELS.items(), strict=False):
            for kind, rows in mine.items():
                style.with_interval(axes, rows, "lam", name, kind, line=kind == "dera")
            axes.set_ylabel(label if axes in panels[:, 0] else "")
            if name in SHARES:
                axes.set_ylim(-0.05, 1.05)
            axes.tick_params(labelbottom=name == "length")
            style.mark_ends(axes)
            style.wide_lam_axis(axes)
            axes.set_xlabel("mixing weight λ" if name == "length" else "")
        column[0].set_title(
            f"{style.objective_name(objective)}, β₀ = {mine['dera']['anchor'].iloc[0]:g}"
        )
        for kind, rows in mine.items():
            style.with_interval(
                column[-1],
                rows,
                "coverage",
                "hallucinated",
                kind,
                x_interval=True,
                order="lam",
                line=kind == "dera",
            )
        column[-1].margins(x=0.12, y=0.1)  # room for the labels
        column[-1].set_xlabel("coverage (share of facts)")
    panels[-1, 0].set_ylabel(PANELS["hallucinated"])
    panels[0, 0].containers[1].set_label("retrained at λ = β₀/β")
    figure.align_ylabels()
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.draw_without_rendering()  # where points lie is known when the panels have their sizes
    for axes, mine in zip(panels[-1], found.values(), strict=True):
        _label(axes, mine["dera"])
    return figure


def _label(axes: Axes, dera: pd.DataFrame) -> None:
    """Write lam at the ends, at 0 and at 1, then at others, as long as there is room."""
    first = [0, 1, dera["lam"].max(), dera["lam"].min()]
    rows = dera.sort_values(
        "lam",
        key=lambda lams: [first.index(lam) if lam in first else len(first) for lam in lams],
        kind="stable",
    )
    halo = [withStroke(linewidth=2, foreground="white")]
    look: dict[str, Any] = dict(
        textcoords="offset points",
        size=7,
        color=style.POLICIES["dera"]["color"],
        path_effects=halo,
        zorder=5,
    )
    taken: list[tuple[float, float]] = []
    for lam, *point in rows[["lam", "coverage", "hallucinated"]].itertuples(index=False):
        x, y = axes.transData.transform(point) * 72 / axes.figure.dpi
        if all(abs(x - a) > ROOM[0] or abs(y - b) > ROOM[1] for a, b in taken):
            taken.append((x, y))
            axes.annotate(f"λ = {lam:g}", point, xytext=(5, 4), **look)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
