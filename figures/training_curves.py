"""Training curves: the reference's loss, and for each objective what its trainer reports, a colour a beta."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

PANELS = {
    "reward": "mean reward",
    "kl": "KL per token (nats)",
    "rewards/margins": "implicit reward margin",
    "loss": "loss",
}
MOST_COLUMNS = 4


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """First panel SFT; then two panels an objective. Lines are means over seeds, bands run from the least to the greatest."""
    training = tables["training"]
    aligned = training[training["stage"] == "align"]
    panels = [(None, "loss")]
    for objective, found in sorted(
        aligned.groupby("objective"), key=lambda item: -item[1]["beta"].nunique()
    ):
        panels += [(objective, name) for name in PANELS if name in set(found["name"])][
            : 2 if "reward" in set(found["name"]) else 1
        ]
    rows = math.ceil(len(panels) / MOST_COLUMNS)
    columns = math.ceil(len(panels) / rows)
    figure, grid = plt.subplots(
        rows, columns, figsize=(style.PAGE, 0.5 + 1.8 * rows), squeeze=False
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    colors = style.beta_colors(list(aligned["beta"].unique()))
    for axes, (objective, name) in zip(grid.flat, panels, strict=False):
        axes.set_xlabel("step")
        if objective is None:
            _reference(axes, training[training["stage"] == "sft"])
        else:
            _objective(
                axes,
                aligned[(aligned["objective"] == objective) & (aligned["name"] == name)],
                colors,
            )
            axes.set_title(style.objective_name(objective))
            axes.set_ylabel(PANELS[name])
    handles = [
        plt.Line2D([], [], color=color, label=f"β = {beta:g}") for beta, color in colors.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _reference(axes: Axes, rows: pd.DataFrame) -> None:
    for name, label, color in (
        ("loss", "training", "#56B4E9"),
        ("eval_loss", "validation", "#000000"),
    ):
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
    window = max(1, rows["step"].nunique() // 12)
    for beta, curves in rows.groupby("beta"):
        seeds = (
            curves.pivot(index="step", columns="seed", values="value")
            .rolling(window, min_periods=1)
            .mean()
        )
        axes.plot(seeds.index, seeds.mean(axis=1), color=colors[beta])
        axes.fill_between(
            seeds.index,
            seeds.min(axis=1),
            seeds.max(axis=1),
            color=colors[beta],
            alpha=0.2,
            linewidth=0,
        )


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["training"])
