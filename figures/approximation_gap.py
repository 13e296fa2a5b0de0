"""The per-token approximation's gap, KL(DeRa || exact mixture): in a trial, for each task, and beside broken completions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from figures import selection, style

KEYS = ["task", "objective", "anchor", "lam"]
FEWER, MORE = "#E69F00", "#56B4E9"  # of no policy
LEAST = 1e-4  # nats; the axis is linear below, where gaps at lam = 0 and 1 lie


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Left: the enumerated trial. Middle: the grid of lam of each task and objective. Right: the share broken outside [0, 1]."""
    gaps = gap_table(selection.realigned(tables["policies"]))
    colors = dict(zip(dict.fromkeys(gaps["task"]), style.TASKS, strict=False))
    looks = style.objective_looks(gaps["objective"])
    figure, (trial, over_lam, foreseen) = plt.subplots(1, 3, figsize=(style.PAGE, 3.3))
    _trial(trial, tables["gap_trial"])
    for (task, objective), rows in gaps.groupby(["task", "objective"], sort=False):
        look = {"color": colors[task], **looks[objective], "markersize": 3}
        _over_lam(over_lam, rows, look)
        _with_broken(foreseen, rows[(rows["lam"] < 0) | (rows["lam"] > 1)], look)
    for axes in (over_lam, foreseen):
        axes.set_yscale("symlog", linthresh=LEAST)
        axes.set_ylim(-LEAST / 2, 1.5 * gaps["gap_high"].max())
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LEAST))
        axes.set_ylabel(style.QUANTITIES["gap"])
    over_lam.set_title("each task")
    for axes in (trial, over_lam):
        style.wide_lam_axis(axes)
        style.mark_ends(axes)
    foreseen.set(
        xlabel=style.QUANTITIES["broken"], xlim=(-0.04, 1.04), title="each task, λ outside [0, 1]"
    )
    figure.legend(*trial.get_legend_handles_labels(), loc="outside upper left")
    figure.legend(handles=_key(colors, looks), loc="outside upper right", ncols=2)
    return figure


def gap_table(policies: pd.DataFrame) -> pd.DataFrame:
    """Gap and DeRa's share broken at each lam of the grid anchors; `trusted` where the samples could show such a gap.

    From n completions of a prompt, log E[w] is known while the gap is well below log n; half of it is asked for. A prompt has
    n completions from one seed, whatever the number of seeds that are averaged.
    """
    parts = []
    for (_, objective), mine in policies.groupby(["task", "objective"], sort=False):
        dera, mixture = (
            selection.of_default_anchor(mine, objective, kind) for kind in ("dera", "mixture")
        )
        broken = dera[[*KEYS, "broken", "broken_low", "broken_high"]]
        joined = mixture.drop(columns=["broken", "broken_low", "broken_high"]).merge(
            broken, on=KEYS
        )
        each = mixture["completions"].min() / mixture["prompts"].min()
        parts.append(joined.assign(trusted=joined["gap"] <= np.log(each) / 2))
    return pd.concat(parts)


def _trial(axes: Axes, trial: pd.DataFrame) -> None:
    true = trial.drop_duplicates("lam").sort_values("lam")
    axes.plot(
        true["lam"], true["enumerated"], color="#000000", linewidth=0.9, label="true, enumerated"
    )
    for (samples, rows), color in zip(trial.groupby("samples"), (FEWER, MORE), strict=False):
        look: dict[str, Any] = dict(
            color=color, marker="o", markersize=3, label=f"from {samples} samples a prompt"
        )
        style.with_interval(axes, rows, "lam", "estimated", "estimate", line=False, **look)
    axes.set_yscale("log")
    axes.set(ylabel=style.QUANTITIES["gap"], title="where it can be enumerated")


def _over_lam(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    axes.plot(
        rows["lam"],
        rows["gap"],
        color=look["color"],
        linestyle=look["linestyle"],
        linewidth=0.9,
        alpha=0.6,
    )
    for trusted, part in rows.groupby("trusted"):
        style.with_interval(axes, part, "lam", "gap", "mixture", **_faded(look, trusted))


def _with_broken(axes: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    for trusted, part in rows.groupby("trusted"):
        style.with_interval(
            axes, part, "broken", "gap", "mixture", x_interval=True, **_faded(look, trusted)
        )


def _faded(look: dict[str, Any], trusted: bool) -> dict[str, Any]:
    filled = look["color"] if trusted else "white"
    return look | dict(
        linestyle="none", alpha=1 if trusted else 0.45, markerfacecolor=filled, label=None
    )


def _key(colors: dict[str, str], looks: dict[str, dict[str, Any]]) -> list[plt.Line2D]:
    tasks = [plt.Line2D([], [], color=color, label=task) for task, color in colors.items()]
    marks = [
        plt.Line2D([], [], color="#555555", markersize=3, label=style.objective_name(n), **look)
        for n, look in looks.items()
    ]
    few: dict[str, Any] = dict(
        color="#555555",
        linestyle="none",
        marker="s",
        markersize=3,
        markerfacecolor="white",
        alpha=0.45,
    )
    return [*tasks, *marks, plt.Line2D([], [], **few, label="faded: too few samples")]


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies", "gap_trial"])
