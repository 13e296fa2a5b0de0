"""The reward-KL frontier: how much reward each policy buys for its distance from the reference."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from figures import selection, style


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """One panel an objective: every anchor's DeRa curve from lam = 0 to selection.MOST_LAM, mixture, retrained, optimum."""
    policies = selection.realigned(tables["policies"])
    mean = selection.readable(selection.supported(policies[policies["seed"] == "mean"]))
    objectives = list(dict.fromkeys(mean["objective"].dropna()))
    shared = selection.one_reward(policies)
    anchors = mean[mean["kind"] == "dera"].groupby("objective")["anchor"].unique()
    several = (
        anchors.map(len).max() > 1
    )  # then the legend tells them apart, else the titles name them
    figure, columns = style.columns_of_panels(len(objectives), 1, 3.5, sharey=shared, sharex=shared)
    for (axes,), objective in zip(columns, objectives, strict=True):
        mine = mean[mean["objective"] == objective]
        style.with_interval(
            axes,
            mine[mine["kind"] == "optimum"],
            "kl",
            "reward",
            "optimum",
            x_interval=True,
            order="beta",
        )
        for kind in ("mixture", "dera"):
            for number, (anchor, rows) in enumerate(mine[mine["kind"] == kind].groupby("anchor")):
                line = style.with_interval(
                    axes, rows, "kl", "reward", kind, x_interval=True, order="lam"
                )
                line[0].set_linestyle(("-", "--", ":")[number % 3])
                if several:
                    line.set_label(f"{style.POLICIES[kind]['label']}, β₀ = {anchor:g}")
        for kind in ("retrained", "reference"):
            style.with_interval(
                axes, mine[mine["kind"] == kind], "kl", "reward", kind, line=False, x_interval=True
            )
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_title(
            style.objective_name(objective)
            + ("" if several else f", β₀ = {anchors[objective][0]:g}")
        )
        axes.set_xlabel(style.QUANTITIES["kl"])
    for (axes,) in columns:
        axes.set_xlim(left=-0.02)  # when all are drawn: it ends the scaling of axes that are shared
    style.label_rows(columns, [style.QUANTITIES["reward"]])
    handles = {
        label: handle
        for (axes,) in columns
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
