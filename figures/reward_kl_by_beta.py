"""Reward and KL against the effective strength: retrained, DeRa, exact mixture and true optimum, a column an anchor."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two rows (reward, KL), one column for each objective and anchor; lam from above 0 to selection.MOST_LAM."""
    policies = selection.realigned(tables["policies"])
    mean = selection.readable(
        selection.supported(policies[(policies["seed"] == "mean") & policies["beta"].gt(0)])
    )
    order = list(dict.fromkeys(policies["objective"].dropna()))
    anchors = sorted(
        mean[mean["kind"] == "dera"].groupby(["objective", "anchor"]).groups,
        key=lambda pair: (order.index(pair[0]), pair[1]),
    )
    figure, columns = style.columns_of_panels(len(anchors), 2, 3.9)
    for column, (objective, anchor) in zip(columns, anchors, strict=True):
        column[0].sharex(column[1])
        column[0].tick_params(labelbottom=False)
        mine = policies[policies["objective"] == objective]
        of_mean = mean[mean["objective"] == objective]
        for axes, quantity in zip(column, ("reward", "kl"), strict=True):
            _panel(axes, quantity, of_mean, mine, anchor)
            axes.axvline(anchor, color="#999999", linewidth=0.8, linestyle=":")
        trained = set(mine[mine["kind"] == "retrained"]["beta"])
        of_anchor = of_mean[of_mean["anchor"] == anchor]["beta"]
        style.beta_axis(column[1], sorted(trained | {of_anchor.min(), of_anchor.max()}))
        reference = mine[mine["kind"] == "reference"]["reward"].iloc[0]
        look = dict(color=style.POLICIES["reference"]["color"], label="reference")
        column[0].axhline(reference, linestyle="--", linewidth=0.8, **look)
        column[0].set_title(f"{style.objective_name(objective)}, anchor β₀ = {anchor:g}")
        column[1].set_xlabel("effective β = β₀ / λ")
        column[1].set_yscale("symlog", linthresh=0.1)
        column[1].set_ylim(-0.03, 1.5 * max(mean["kl_high"].max(), 0.1))
        if selection.one_reward(policies):
            column[0].sharey(columns[0][0])
    style.label_rows(columns, [style.QUANTITIES[quantity] for quantity in ("reward", "kl")])
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _panel(
    axes: Axes, quantity: str, mean: pd.DataFrame, policies: pd.DataFrame, anchor: float
) -> None:
    style.with_interval(axes, mean[mean["kind"] == "optimum"], "beta", quantity, "optimum")
    of_anchor = mean[mean["anchor"] == anchor]
    for kind in ("mixture", "dera"):
        style.with_interval(axes, of_anchor[of_anchor["kind"] == kind], "beta", quantity, kind)
    style.with_interval(
        axes, mean[mean["kind"] == "retrained"], "beta", quantity, "retrained", line=False
    )
    seeds = policies[(policies["kind"] == "retrained") & (policies["seed"] != "mean")]
    axes.plot(
        seeds["beta"],
        seeds[quantity],
        ".",
        color=style.POLICIES["retrained"]["color"],
        alpha=0.5,
        markersize=3,
    )


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
