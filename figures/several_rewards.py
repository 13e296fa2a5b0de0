"""Two rewards at once: DeRa over two aligned models, beside models trained on weighted sums of the rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from figures import selection, style

PLACES = (
    ("right", (-6, -10)),
    ("left", (6, 5)),
    ("right", (-6, 5)),
    ("left", (6, -10)),
)  # of a label beside its point, in points
ASIDE = 0.03  # policies of one weight stand so far beside each other
LOOKS: dict[str, dict[str, Any]] = {
    "dera": dict(label="DeRa, λ sums to 1"),
    "beyond": dict(label="DeRa, other λ", markerfacecolor="white"),
    "joint": dict(label="trained on the weighted sum"),
    "part": dict(
        label="trained on one reward",
        marker="P",
        markerfacecolor=style.POLICIES["retrained"]["color"],
    ),
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Left: the plane of the two rewards. Right: what each policy gains in the weighted reward over the reference."""
    table = tables["several_rewards"]
    first, second = (style.objective_name(table[f"part_{i}"].iloc[0]) for i in (1, 2))
    table = table[
        (table["kind"] != "dera") | table[["lam_1", "lam_2"]].any(axis=1)
    ]  # DeRa at 0, 0 is the reference
    between = np.isclose(table["lam_1"] + table["lam_2"], 1) & (
        table[["lam_1", "lam_2"]].min(axis=1) >= 0
    )
    figure, (plane, gains) = plt.subplots(1, 2, figsize=(style.PAGE, 4.0), width_ratios=[1.5, 1])
    _plane(plane, table, between)
    plane.set(xlabel=f"mean reward of {first}", ylabel=f"mean reward of {second}")
    _gains(gains, selection.supported(table[between]))
    gains.set(
        xlabel=f"weight of the reward of {first}", ylabel="weighted reward less the reference's"
    )
    handles = {
        label: handle
        for axes in (plane, gains)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    figure.draw_without_rendering()  # where points lie is known when the panels have their sizes
    _label(plane, table[table["kind"] != "mixture"], between)
    return figure


def _plane(axes: Axes, table: pd.DataFrame, between: pd.Series) -> None:
    dera = table["kind"] == "dera"
    drawn = {"beyond": table[dera & ~between], "dera": table[dera & between]}
    drawn |= {kind: table[table["kind"] == kind] for kind in ("joint", "part", "reference")}
    for kind, rows in drawn.items():
        if len(rows):
            look = {"dera": "dera", "beyond": "dera", "reference": "reference"}.get(
                kind, "retrained"
            )
            style.with_interval(
                axes,
                rows,
                "reward_1",
                "reward_2",
                look,
                line=kind == "dera",
                x_interval=True,
                order="lam_1",
                **LOOKS.get(kind, {}),
            )
    axes.margins(0.15, 0.1)  # room for the labels


def _gains(axes: Axes, rows: pd.DataFrame) -> None:
    axes.set_xticks(sorted(rows["lam_1"].unique()))
    axes.axhline(0, linestyle="--", linewidth=0.8, color=style.POLICIES["reference"]["color"])
    for kind, aside in (("dera", -ASIDE), ("mixture", 0), ("joint", ASIDE), ("part", ASIDE)):
        mine = rows[rows["kind"] == kind]
        look = {**LOOKS.get(kind, {}), "linestyle": "none"}
        policy = kind if kind in style.POLICIES else "retrained"
        style.with_interval(
            axes, mine.assign(weight=mine["lam_1"] + aside), "weight", "gain", policy, **look
        )


def _label(axes: Axes, table: pd.DataFrame, between: pd.Series) -> None:
    """Write DeRa's mixing weights beside its points, first of those between the ends, as long as there is room between all points."""
    halo = [withStroke(linewidth=2, foreground="white")]
    look: dict[str, Any] = dict(
        textcoords="offset points", size=6, color=style.POLICIES["dera"]["color"], path_effects=halo
    )
    renderer, inside = axes.figure.canvas.get_renderer(), axes.get_window_extent()  # type: ignore[attr-defined]
    marks = axes.transData.transform(table[["reward_1", "reward_2"]].to_numpy())
    taken = [Bbox.from_bounds(x, y, 0, 0).padded(4 * axes.figure.dpi / 72) for x, y in marks]
    dera = (
        table[table["kind"] == "dera"]
        .assign(between=between)
        .sort_values("between", ascending=False, kind="stable")
    )
    for row in dera.itertuples():
        for side, aside in PLACES:
            text = f"{row.lam_1:g}, {row.lam_2:g}"
            written = axes.annotate(
                text, (row.reward_1, row.reward_2), xytext=aside, ha=side, zorder=5, **look
            )
            box = written.get_window_extent(renderer)
            if (
                inside.contains(*box.min)
                and inside.contains(*box.max)
                and not any(box.overlaps(other) for other in taken)
            ):
                taken.append(box)
                break
            written.remove()


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["several_rewards"])
