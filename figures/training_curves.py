"""Draw the loss of the reference, and what the trainer of each objective reports."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

SCOPE = "task"
READS = ["training"]
WHEN = "has_training"
CAPTION = """
The first panel shows the loss of the reference, which should have become flat. The others show
what the trainer of each objective reported at each strength β. Lines are means over the seeds,
smoothed over a twelfth of the run. Bands go from the lowest to the highest seed.
"""

#: What a trainer may report, in the order of preference, and how it is written along an axis.
REPORTED = {
    "reward": "mean reward",
    "kl": "KL per token (nats)",
    "rewards/margins": "implicit reward margin",
    "loss": "loss",
}
#: Curves of the reference: their label and colour.
SFT = {"loss": ("training", "#56B4E9"), "eval_loss": ("validation", "#000000")}
MAX_COLUMNS = 4
#: Lines are smoothed over a window, and a run is so many windows long.
WINDOWS = 12


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw the reference first, then one or two panels for each objective."""
    training = tables["training"]
    aligned = training[training["stage"] == "align"]
    shown = panels_of(aligned)

    # The reference has one panel, and the objectives have the others.
    count = 1 + len(shown)
    rows = math.ceil(count / MAX_COLUMNS)
    columns = math.ceil(count / rows)
    size = (style.PAGE, 0.5 + 1.8 * rows)
    figure, all_axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axes in all_axes.flat[:count]:
        axes.set_xlabel("step")
    for axes in all_axes.flat[count:]:
        axes.set_visible(False)

    _reference(all_axes.flat[0], training[training["stage"] == "sft"])
    colors = style.beta_colors(list(aligned["beta"].unique()))
    for axes, (objective, name) in zip(all_axes.flat[1:], shown, strict=False):
        of_objective = aligned[aligned["objective"] == objective]
        _objective(axes, of_objective[of_objective["name"] == name], colors)
        axes.set_title(style.objective_name(objective))
        axes.set_ylabel(REPORTED[name])

    handles = []
    for beta, color in colors.items():
        handles.append(plt.Line2D([], [], color=color, label=f"β = {beta:g}"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def panels_of(aligned: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the objective and the reported quantity of each panel.

    The objective with the most betas comes first. An objective that samples has two panels, its
    reward and the next quantity it reports. Another objective has one.
    """
    by_objective = aligned.groupby("objective")
    betas = by_objective["beta"].nunique()
    shown = []
    for objective in sorted(betas.index, key=lambda name: -betas[name]):
        names = set(by_objective.get_group(objective)["name"])
        reported = [name for name in REPORTED if name in names]
        count = 2 if "reward" in names else 1
        shown += [(objective, name) for name in reported[:count]]
    return shown


def _reference(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the loss of supervised fine-tuning on a logarithmic axis with round ticks."""
    for name, (label, color) in SFT.items():
        curve = rows[rows["name"] == name]
        axes.plot(curve["step"], curve["value"], color=color, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_title("SFT (reference)")
    axes.set_ylabel("loss (nats per token)")
    axes.legend()


def _objective(axes: Axes, rows: pd.DataFrame, colors: dict[float, tuple]) -> None:
    """Draw one reported quantity, with a line and a band for each beta."""
    window = max(1, rows["step"].nunique() // WINDOWS)
    for beta, curves in rows.groupby("beta"):
        by_seed = curves.pivot(index="step", columns="seed", values="value")
        smooth = by_seed.rolling(window, min_periods=1).mean()
        lowest = smooth.min(axis=1)
        highest = smooth.max(axis=1)
        band = dict(color=colors[beta], alpha=0.2, linewidth=0)
        axes.plot(smooth.index, smooth.mean(axis=1), color=colors[beta])
        axes.fill_between(smooth.index, lowest, highest, **band)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
