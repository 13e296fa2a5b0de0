"""Draw two rewards at once: DeRa over two aligned models, and models trained on both rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from figures import panels, selection, style

SCOPE = "task"
WHEN = "has_several_rewards"
READS = ["several_rewards"]
CAPTION = """
Two rewards that conflict: the rewards of {several_rewards.objectives}. DeRa mixes two models, each
trained on one of the rewards alone. Left: the means of both rewards. The numbers beside the marks
of DeRa are its two mixing weights. The line joins the weights that sum to 1. There DeRa should
equal the models that were trained on the sum of the rewards with these weights (circles). Right:
the sum of the rewards with the same weights, minus its value for the reference. DeRa beside the
exact mixture shows the error of the per-token approximation. The exact mixture beside the trained
models shows how far training is from its optimum. A mixture with fewer than two effective samples
per prompt is not drawn;
``several_rewards.csv`` has them.
"""

#: Where a label may stand beside its point: the side that is aligned, and the shift in points.
PLACES = (("right", (-6, -10)), ("left", (6, 5)), ("right", (-6, 5)), ("left", (6, -10)))
#: How far policies with the same weights stand beside one another.
ASIDE = {"dera": -0.03, "mixture": 0, "joint": 0.03, "single": 0.03}
LOOKS: dict[str, dict[str, Any]] = {
    "dera": dict(label="DeRa, λ sums to 1"),
    "beyond": dict(label="DeRa, other λ", markerfacecolor="white"),
    "joint": dict(label="trained on the weighted sum"),
    "single": dict(
        label="trained on one reward",
        marker="P",
        markerfacecolor=style.POLICIES["retrained"]["color"],
    ),
}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw the plane of both rewards, and what each policy gains in the weighted reward."""
    # DeRa at the weights 0, 0 is the reference, which is drawn by itself.
    table = tables["several_rewards"]
    table = table[(table["kind"] != "dera") | table[["lam_1", "lam_2"]].any(axis=1)]
    sums_to_one = np.isclose(table["lam_1"] + table["lam_2"], 1)
    between = sums_to_one & (table[["lam_1", "lam_2"]].min(axis=1) >= 0)
    first = style.objective_name(table["objective_1"].iloc[0])
    second = style.objective_name(table["objective_2"].iloc[0])

    size = (style.PAGE, 4.0)
    figure, (plane, gains) = plt.subplots(1, 2, figsize=size, width_ratios=[1.5, 1])
    _plane(plane, table, between)
    plane.set(xlabel=f"mean reward of {first}", ylabel=f"mean reward of {second}")
    _gains(gains, selection.supported(table[between]))
    gains.set_xlabel(f"weight of the reward of {first}")
    gains.set_ylabel("weighted reward minus that of the reference")
    panels.share_legend(figure, (plane, gains), columns=3)

    # Where the points lie is known only when the panels have their sizes.
    figure.draw_without_rendering()
    _label(plane, table[table["kind"] != "mixture"], between)
    return figure


def _plane(axes: Axes, table: pd.DataFrame, between: pd.Series) -> None:
    """Draw each policy at its two rewards; a line joins DeRa at weights that sum to 1."""
    dera = table["kind"] == "dera"
    drawn = {"beyond": table[dera & ~between], "dera": table[dera & between]}
    for kind in ("joint", "single", "reference"):
        drawn[kind] = table[table["kind"] == kind]
    policies = {"beyond": "dera", "joint": "retrained", "single": "retrained"}
    for kind, rows in drawn.items():
        if len(rows):
            look = {"line": kind == "dera", "x_interval": True, "order": "lam_1"}
            policy = policies.get(kind, kind)
            style.with_interval(
                axes, rows, "reward_1", "reward_2", policy, **look, **LOOKS.get(kind, {})
            )
    axes.margins(0.15, 0.1)  # space for the labels


def _gains(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the weighted reward minus that of the reference, at each pair of weights."""
    axes.set_xticks(sorted(rows["lam_1"].unique()))
    axes.axhline(0, linestyle="--", linewidth=0.8, color=style.POLICIES["reference"]["color"])
    for kind, aside in ASIDE.items():
        of_kind = rows[rows["kind"] == kind]
        look = {**LOOKS.get(kind, {}), "linestyle": "none"}
        policy = kind if kind in style.POLICIES else "retrained"
        beside = of_kind.assign(weight=of_kind["lam_1"] + aside)
        style.with_interval(axes, beside, "weight", "gain", policy, **look)


def _label(axes: Axes, table: pd.DataFrame, between: pd.Series) -> None:
    """Write DeRa's mixing weights beside its points, where there is space between all points.

    Weights that sum to 1 come first.
    """
    # What is taken already: the points of all policies, each with four points around it.
    marks = axes.transData.transform(table[["reward_1", "reward_2"]].to_numpy())
    margin = 4 * axes.figure.dpi / 72
    taken = [Bbox.from_bounds(x, y, 0, 0).padded(margin) for x, y in marks]

    dera = table[table["kind"] == "dera"].assign(between=between)
    for row in dera.sort_values("between", ascending=False, kind="stable").itertuples():
        point = (row.reward_1, row.reward_2)
        box = _write_where_free(axes, f"{row.lam_1:g}, {row.lam_2:g}", point, taken)
        if box is not None:
            taken.append(box)


def _write_where_free(
    axes: Axes, text: str, point: tuple[float, float], taken: list[Bbox]
) -> Bbox | None:
    """Write a text at the first of PLACES that is free, and return its box.

    Returns:
        The box of the text, or None where no place is free, so that nothing was written.
    """
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    inside = axes.get_window_extent()
    look: dict[str, Any] = dict(
        textcoords="offset points",
        size=6,
        color=style.POLICIES["dera"]["color"],
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=5,
    )
    for side, shift in PLACES:
        written = axes.annotate(text, point, xytext=shift, ha=side, **look)
        box = written.get_window_extent(renderer)
        within_panel = inside.contains(*box.min) and inside.contains(*box.max)
        if within_panel and not any(box.overlaps(taken_box) for taken_box in taken):
            return box
        written.remove()
    return None


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
