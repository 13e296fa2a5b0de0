"""Draw the reward that was maximised, and gold, against the distance from the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
WHEN = "has_imperfect_reward"
READS = ["policies"]
CAPTION = """
The reward that training maximised (top), and gold, which is the task's own verdict (bottom),
against the KL to the reference. Regularisation weakens to the right. There the reward keeps rising.
Gold falls once the only things left to gain are the labeller's taste for length and the errors of
the reward model. A ring marks the model at the default strength.
"""

QUANTITIES = ("reward", "gold")
#: Colours of the betas fill the marks, and this colour is their edge.
EDGE = style.POLICIES["retrained"]["color"]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a column for each objective that maximised something other than gold."""
    policies = selection.with_dera(tables["policies"])
    mean = selection.mean_over_seeds(policies)
    objectives = []
    for name, rows in mean.groupby("objective", sort=False):
        if not np.allclose(rows["reward"], rows["gold"]):
            objectives.append(name)
    colors = style.beta_colors(list(mean.loc[mean["kind"] == "retrained", "beta"].unique()))

    size = (style.PAGE, 4.4)
    figure, all_axes = plt.subplots(2, len(objectives), figsize=size, squeeze=False, sharex="col")
    for column, objective in zip(all_axes.T, objectives, strict=True):
        _column(column, contents(policies, objective), colors)
        anchor = selection.default_anchor(policies, objective)
        column[0].set_title(f"{style.objective_name(objective)}, β₀ = {anchor:g}")
        column[1].set_xlabel(style.QUANTITIES["kl"])
    figure.align_ylabels()
    panels.share_legend(figure, all_axes[0], columns=5)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return at which strengths the retrained models' reward and gold are highest.

    Of several objectives, the first one that maximised something other than gold is named.
    """
    mean = selection.mean_over_seeds(selection.with_dera(tables["policies"]))
    for name, rows in mean.groupby("objective", sort=False):
        retrained = rows[rows["kind"] == "retrained"].set_index("beta")
        if len(retrained) and not np.allclose(rows["reward"], rows["gold"]):
            reward, gold = retrained["reward"].idxmax(), retrained["gold"].idxmax()
            return (
                f"Of the models retrained by {style.objective_name(str(name))}, the one at "
                f"β = {reward:g} has the highest reward, and the one at β = {gold:g} has the "
                "highest gold."
            )
    return ""


def contents(policies: pd.DataFrame, objective: str) -> dict[str, pd.DataFrame]:
    """Return the rows of each kind: DeRa at readable lams, and others with enough samples."""
    mean = selection.mean_over_seeds(policies)
    of_objective = selection.supported(mean[mean["objective"] == objective])
    kinds = ("reference", "optimum", "retrained")
    drawn = {kind: of_objective[of_objective["kind"] == kind] for kind in kinds}
    drawn["dera"] = selection.readable(selection.of_default_anchor(policies, objective))
    return drawn


def _column(column: list[Axes], kinds: dict[str, pd.DataFrame], colors: dict[float, tuple]) -> None:
    """Draw one objective, the reward above gold."""
    dera = kinds["dera"]
    label = f"DeRa, λ from 0 to {dera['lam'].max():g}"
    for axes, quantity in zip(column, QUANTITIES, strict=True):
        if len(kinds["optimum"]):
            optimum = kinds["optimum"]
            style.with_interval(axes, optimum, "kl", quantity, "optimum", x_interval=True)
        style.with_interval(
            axes, dera, "kl", quantity, "dera", x_interval=True, order="lam", label=label
        )
        style.with_interval(axes, kinds["reference"], "kl", quantity, "reference", line=False)
        _retrained(axes, kinds["retrained"], quantity, dera["anchor"].iloc[0], colors)
        axes.set_ylabel(style.QUANTITIES[quantity])
    shown = pd.concat([dera, kinds["retrained"], kinds["optimum"]])
    _distance_axis(column[1], shown["kl_low"].min(), shown["kl_high"].max())


def _retrained(
    axes: Axes, rows: pd.DataFrame, quantity: str, default: float, colors: dict[float, tuple]
) -> None:
    """Draw retrained models in the colours of their betas, with a ring round the default."""
    style.with_interval(
        axes, rows, "kl", quantity, "retrained", line=False, x_interval=True, label="_"
    )
    for _, row in rows.sort_values("beta").iterrows():
        look = dict(color=colors[row["beta"]], markeredgecolor=EDGE, markersize=5, zorder=4)
        axes.plot(row["kl"], row[quantity], "o", label=f"retrained, β = {row['beta']:g}", **look)
    default_rows = rows[np.isclose(rows["beta"], default)]
    ring = dict(color="black", markerfacecolor="none", markersize=11, label="default strength β₀")
    axes.plot(default_rows["kl"], default_rows[quantity], "o", **ring)


def _distance_axis(axes: Axes, minimum: float, maximum: float) -> None:
    """Make the horizontal axis the square root of the distance, which spreads small distances.

    Distances that are estimated from samples may be a little below 0.
    """
    axes.set_xscale("function", functions=(_signed_root, _signed_square))

    # Ticks at 1, 2 and 5 times powers of ten, as long as they are not too close together.
    candidates = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)]
    ticks = [0.0]
    for tick in candidates:
        apart = np.sqrt(tick) - np.sqrt(ticks[-1]) > 0.1 * np.sqrt(maximum)
        if apart and tick <= maximum:
            ticks.append(tick)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(min(minimum, 0) - 0.002 * maximum, 1.08 * maximum)


def _signed_root(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * x**2


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
