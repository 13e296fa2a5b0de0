"""Draw the reward-KL frontier: the reward of each policy for its distance from the reference."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
READS = ["policies"]
CAPTION = """
The mean reward that each policy reaches, against its KL to the reference. Apart from sampling
error, no policy can lie above the true optimum. The curves of DeRa and of the exact mixture run
over λ in [0, 4]. There is one mark for each strength at which a model was retrained. A policy is
left out if its reweighting left fewer than two effective samples per prompt.
"""

#: The lines of an objective's anchors, in the order from the weakest regularisation.
LINES = ("-", "--", ":")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw one panel for each objective, with the curves of all its anchors."""
    policies = selection.with_dera(tables["policies"])
    mean = selection.readable(selection.supported(selection.mean_over_seeds(policies)))
    objectives = list(dict.fromkeys(mean["objective"].dropna()))
    shared = selection.share_one_reward(policies)
    figure, columns = panels.columns_of_panels(
        len(objectives), 1, 3.5, sharey=shared, sharex=shared
    )

    # If some objective has several anchors, the legend names them, otherwise the titles do.
    anchors = mean[mean["kind"] == "dera"].groupby("objective")["anchor"].unique()
    in_legend = anchors.map(len).max() > 1
    for (axes,), objective in zip(columns, objectives, strict=True):
        _panel(axes, mean[mean["objective"] == objective], in_legend)
        title = style.objective_name(objective)
        axes.set_title(title if in_legend else f"{title}, β₀ = {anchors[objective][0]:g}")

    # The limits come last, because setting them ends the scaling of axes that are shared.
    for (axes,) in columns:
        axes.set_xlim(left=-0.02)
    panels.label_rows(columns, [style.QUANTITIES["reward"]])
    panels.share_legend(figure, [axes for (axes,) in columns], columns=4)
    return figure


def _panel(axes: Axes, mean: pd.DataFrame, in_legend: bool) -> None:
    """Draw the policies of one objective; `in_legend` says whether labels name the anchors."""
    optimum = mean[mean["kind"] == "optimum"]
    style.with_interval(axes, optimum, "kl", "reward", "optimum", x_interval=True, order="beta")
    for kind in ("mixture", "dera"):
        _curves(axes, mean[mean["kind"] == kind], kind, in_legend)
    for kind in ("retrained", "reference"):
        rows = mean[mean["kind"] == kind]
        style.with_interval(axes, rows, "kl", "reward", kind, line=False, x_interval=True)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlabel(style.QUANTITIES["kl"])


def _curves(axes: Axes, rows: pd.DataFrame, kind: str, in_legend: bool) -> None:
    """Draw a curve over lam for each anchor."""
    for number, (anchor, of_anchor) in enumerate(rows.groupby("anchor")):
        curve = style.with_interval(
            axes, of_anchor, "kl", "reward", kind, x_interval=True, order="lam"
        )
        curve[0].set_linestyle(LINES[number % len(LINES)])
        if in_legend:
            curve.set_label(f"{style.POLICIES[kind]['label']}, β₀ = {anchor:g}")


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
