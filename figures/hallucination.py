"""Draw hallucination and what its control costs against lam, and the trade with coverage."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from figures import panels, selection, style

SCOPE = "task"
TASKS = ["hallucination", "data_to_text"]
READS = ["policies"]
CAPTION = """
An answer hallucinates where it makes a statement that its prompt does not support. Top: the share
of such answers against the mixing weight λ. The panels below it show what less hallucination
costs: the coverage of the facts that the prompt does state, the fluency (mean log-probability per
token under the reference), and the length. Bottom: the share of answers that hallucinate, against
coverage. DeRa starts from the model aligned at the strength β₀. A model retrained at another
strength β stands at λ = β₀/β, where DeRa should equal it.
"""

MEASURES = {
    "hallucinated": "share of answers\nthat hallucinate",
    "coverage": "coverage\n(share of facts)",
    "fluency": "fluency\n(nats per token)",
    "length": "length\n(tokens)",
}
LAST = "length"
SHARES = ("hallucinated", "coverage")
#: Height of the panel at the bottom, in heights of the others.
TRADE_HEIGHT = 2.2
#: Points that a label of the bottom panel needs, across and up.
LABEL_WIDTH = 30
LABEL_HEIGHT = 11


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a column for each objective: the four measures, and the trade between the first two."""
    policies = selection.with_dera(tables["policies"])
    objectives = list(dict.fromkeys(policies["objective"].dropna()))
    figure = plt.figure(figsize=(style.PAGE, 7.6))
    heights = [1] * len(MEASURES) + [TRADE_HEIGHT]
    all_axes = figure.subplots(
        len(heights), len(objectives), squeeze=False, sharey="row", height_ratios=heights
    )

    # The panels, from top to bottom in each column.
    drawn = [selection.at_matching_lam(policies, objective) for objective in objectives]
    for column, objective, kinds in zip(all_axes.T, objectives, drawn, strict=True):
        for axes, measure in zip(column, MEASURES, strict=False):
            _over_lam(axes, measure, kinds)
        _trade(column[-1], kinds)
        anchor = kinds["dera"]["anchor"].iloc[0]
        column[0].set_title(f"{style.objective_name(objective)}, β₀ = {anchor:g}")
    for axes, label in zip(all_axes[:, 0], MEASURES.values(), strict=False):
        axes.set_ylabel(label)
    all_axes[-1, 0].set_ylabel(MEASURES["hallucinated"])

    # The first panel has every label of the legend.
    all_axes[0, 0].containers[1].set_label("retrained, at λ = β₀/β")
    figure.align_ylabels()
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)

    # Where the points lie is known only when the panels have their sizes.
    figure.draw_without_rendering()
    for axes, kinds in zip(all_axes[-1], drawn, strict=True):
        _label(axes, kinds["dera"])
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return how often DeRa hallucinates at lam = 0 and at lam = 1, for the main objective."""
    dera = selection.from_reference_to_aligned(selection.with_dera(tables["policies"]))
    if dera is None:
        return ""
    share, coverage = dera["hallucinated"], dera["coverage"]
    return (
        f"From λ = 0 to λ = 1 the answers that hallucinate go from {share[0]:.0%} to "
        f"{share[1]:.0%}, and coverage goes from {coverage[0]:.0%} to {coverage[1]:.0%}."
    )


def _over_lam(axes: Axes, measure: str, kinds: dict[str, pd.DataFrame]) -> None:
    """Draw one measure against lam; only the last panel of a column has an axis label."""
    for kind, rows in kinds.items():
        style.with_interval(axes, rows, "lam", measure, kind, line=kind == "dera")
    if measure in SHARES:
        axes.set_ylim(-0.05, 1.05)
    panels.mark_ends(axes)
    panels.wide_lam_axis(axes)
    axes.tick_params(labelbottom=measure == LAST)
    if measure != LAST:
        axes.set_xlabel("")


def _trade(axes: Axes, kinds: dict[str, pd.DataFrame]) -> None:
    """Draw the share of answers that hallucinate against coverage."""
    for kind, rows in kinds.items():
        style.with_interval(
            axes,
            rows,
            "coverage",
            "hallucinated",
            kind,
            x_interval=True,
            order="lam",
            line=kind == "dera",
        )
    axes.margins(x=0.12, y=0.1)  # space for the labels
    axes.set_xlabel("coverage (share of facts)")


def _label(axes: Axes, dera: pd.DataFrame) -> None:
    """Write lam beside the points, as far as there is space: first 0, 1 and both ends."""
    # The order in which points get a label.
    lams = list(dict.fromkeys([0, 1, dera["lam"].max(), dera["lam"].min(), *dera["lam"]]))
    points = dera.set_index("lam")[["coverage", "hallucinated"]]
    look: dict[str, Any] = dict(
        textcoords="offset points",
        size=7,
        color=style.POLICIES["dera"]["color"],
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=5,
    )

    # A point gets its label unless one that is already there lies too close.
    taken: list[tuple[float, float]] = []
    for lam in lams:
        if lam not in points.index:
            continue
        point = points.loc[lam].to_list()
        x, y = axes.transData.transform(point) * 72 / axes.figure.dpi
        too_close = any(
            abs(x - taken_x) <= LABEL_WIDTH and abs(y - taken_y) <= LABEL_HEIGHT
            for taken_x, taken_y in taken
        )
        if not too_close:
            taken.append((x, y))
            axes.annotate(f"λ = {lam:g}", point, xytext=(5, 4), **look)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
