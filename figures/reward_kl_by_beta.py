"""Draw reward and KL against the effective strength of each kind of policy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
READS = ["policies"]
CAPTION = """
Mean reward (what each objective maximised) and KL to the reference (of whole completions) against
the effective strength β. A model retrained at β and DeRa at λ = β₀/β should agree. There is one
column for each anchor, which is the strength β₀ of the aligned model that DeRa starts from; a
dotted line marks it. Retrained models beside the true optimum show how far training is from its
optimum. DeRa beside the exact mixture shows the error of the per-token approximation. The exact
mixture beside the true optimum shows the error of the aligned model itself. Small dots are single
seeds. The dashed line is the reference. A policy is left out if its reweighting left fewer than
two effective samples per prompt, or if its λ lies outside [0, 4]; ``policies.csv`` has them all.
"""

QUANTITIES = ("reward", "kl")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw reward above KL, in one column for each objective and anchor."""
    policies = selection.with_dera(tables["policies"])
    mean = selection.supported(selection.mean_over_seeds(policies))
    mean = selection.readable(mean[mean["beta"].gt(0)])

    # The columns: objectives in the order of the table, their anchors in ascending order.
    order = list(dict.fromkeys(policies["objective"].dropna()))
    pairs = mean[mean["kind"] == "dera"].groupby(["objective", "anchor"]).groups
    pairs = sorted(pairs, key=lambda pair: (order.index(pair[0]), pair[1]))
    figure, columns = panels.columns_of_panels(len(pairs), 2, 3.9)

    # Axes are shared before anything is drawn, so that they fit what all of them show.
    if selection.share_one_reward(policies):
        for column in columns[1:]:
            column[0].sharey(columns[0][0])
    for column, (objective, anchor) in zip(columns, pairs, strict=True):
        of_objective = policies[policies["objective"] == objective]
        _column(column, of_objective, mean[mean["objective"] == objective], anchor)
        column[0].set_title(f"{style.objective_name(objective)}, anchor β₀ = {anchor:g}")
        column[1].set_ylim(-0.03, 1.5 * max(mean["kl_high"].max(), 0.1))
    panels.label_rows(columns, [style.QUANTITIES[quantity] for quantity in QUANTITIES])
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return by how much DeRa's reward differs from retrained models', beside alignment's gain."""
    mean = selection.mean_over_seeds(selection.with_dera(tables["policies"]))
    shares = []
    for _, rows in mean.groupby("objective"):
        (reference,) = rows.loc[rows["kind"] == "reference", "reward"]
        retrained = rows[rows["kind"] == "retrained"].set_index("beta")["reward"]
        for anchor, dera in rows[rows["kind"] == "dera"].groupby("anchor"):
            matched = dera[dera["beta"].isin(retrained.index) & (dera["beta"] != anchor)]
            difference = matched["reward"] - matched["beta"].map(retrained)
            gain = abs(retrained[anchor] - reference)
            if gain > 0:
                shares += list(difference.abs() / gain)
    if not shares:
        return ""
    if max(shares) > 1:
        return (
            "At a matched λ the mean rewards of DeRa and of a retrained model differ by more than "
            "alignment gains."
        )
    return (
        "At the matched λ the mean rewards of DeRa and of retrained models differ by at most "
        f"{max(shares):.0%} of what alignment gains."
    )


def _column(column: list[Axes], policies: pd.DataFrame, mean: pd.DataFrame, anchor: float) -> None:
    """Draw one objective and anchor; `policies` has single seeds, `mean` averages over them."""
    column[0].sharex(column[1])
    column[0].tick_params(labelbottom=False)
    for axes, quantity in zip(column, QUANTITIES, strict=True):
        _panel(axes, quantity, mean, policies, anchor)
        axes.axvline(anchor, color="#999999", linewidth=0.8, linestyle=":")

    # Ticks at the trained strengths, and at the smallest and largest that DeRa reaches.
    trained = set(policies[policies["kind"] == "retrained"]["beta"])
    reached = mean[mean["anchor"] == anchor]["beta"]
    panels.beta_axis(column[1], sorted(trained | {reached.min(), reached.max()}))
    column[1].set_xlabel("effective strength β = β₀ / λ")
    column[1].set_yscale("symlog", linthresh=0.1)

    reference = policies[policies["kind"] == "reference"]["reward"].iloc[0]
    look = dict(color=style.POLICIES["reference"]["color"], linestyle="--", linewidth=0.8)
    column[0].axhline(reference, label="reference", **look)


def _panel(
    axes: Axes, quantity: str, mean: pd.DataFrame, policies: pd.DataFrame, anchor: float
) -> None:
    """Draw one quantity of each kind of policy, and the single seeds of retrained models."""
    style.with_interval(axes, mean[mean["kind"] == "optimum"], "beta", quantity, "optimum")
    of_anchor = mean[mean["anchor"] == anchor]
    for kind in ("mixture", "dera"):
        style.with_interval(axes, of_anchor[of_anchor["kind"] == kind], "beta", quantity, kind)
    retrained = mean[mean["kind"] == "retrained"]
    style.with_interval(axes, retrained, "beta", quantity, "retrained", line=False)

    seeds = policies[(policies["kind"] == "retrained") & (policies["seed"].astype(str) != "mean")]
    dots = dict(color=style.POLICIES["retrained"]["color"], alpha=0.5, markersize=3)
    axes.plot(seeds["beta"], seeds[quantity], ".", **dots)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
