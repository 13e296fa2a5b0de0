"""Reward and KL against the effective strength: retrained, DeRa, exact mixture and true optimum, a column an anchor."""

from __future__ import annotations

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures import style


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Two rows (reward, KL), one column for each objective and anchor."""
    policies = tables["policies"]
    mean = style.supported(policies[(policies["seed"] == "mean") & policies["beta"].gt(0)])
    anchors = list(mean[mean["kind"] == "dera"].groupby(["objective", "anchor"], sort=True).groups)
    anchors.sort(key=lambda pair: (-len(mean[(mean["kind"] == "dera") & (mean["objective"] == pair[0])]), pair[1]))
    reference = policies[policies["kind"] == "reference"].iloc[0]
    figure, grid = plt.subplots(2, len(anchors), figsize=(style.PAGE, 3.9), squeeze=False, sharex="col", sharey="row")
    for column, (objective, anchor) in enumerate(anchors):
        for axes, quantity in zip(grid[:, column], ("reward", "kl"), strict=True):
            _panel(axes, quantity, mean, policies, objective, anchor)
            trained = set(policies[policies["kind"] == "retrained"]["beta"])
            style.beta_axis(
                axes, sorted(trained | {mean[(mean["anchor"] == anchor) & (mean["objective"] == objective)]["beta"].min()})
            )
            axes.axvline(anchor, color="#999999", linewidth=0.8, linestyle=":")
        grid[0, column].axhline(reference["reward"], color=style.POLICIES["reference"]["color"], linestyle="--", linewidth=0.8)
        grid[0, column].set_title(f"{objective.upper()}, anchor β₀ = {anchor:g}")
        grid[1, column].set_xlabel("effective β")
        grid[1, column].set_yscale("symlog", linthresh=0.1)
    for row, quantity in enumerate(("reward", "kl")):
        grid[row, 0].set_ylabel(style.QUANTITIES[quantity])
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _panel(axes: plt.Axes, quantity: str, mean: pd.DataFrame, policies: pd.DataFrame, objective: str, anchor: float) -> None:
    style.with_interval(axes, mean[mean["kind"] == "optimum"], "beta", quantity, "optimum")
    of_anchor = mean[(mean["objective"] == objective) & (mean["anchor"] == anchor)]
    for kind in ("mixture", "dera"):
        style.with_interval(axes, of_anchor[of_anchor["kind"] == kind], "beta", quantity, kind)
    retrained = policies[(policies["kind"] == "retrained") & (policies["objective"] == objective)]
    style.with_interval(axes, retrained[retrained["seed"] == "mean"], "beta", quantity, "retrained", line=False)
    seeds = retrained[retrained["seed"] != "mean"]
    axes.plot(seeds["beta"], seeds[quantity], ".", color=style.POLICIES["retrained"]["color"], alpha=0.5, markersize=3)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
