"""Draw the gap of the per-token approximation, which is KL(DeRa || exact mixture).

It is drawn where it can be enumerated, for each task, and beside the share of broken completions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import SymmetricalLogLocator

from figures import panels, selection, style

SCOPE = "study"
READS = ["policies", "gap_trial"]
CAPTION = """
DeRa mixes the two models token by token, which only approximates the exact mixture of whole
completions. The gap is KL(DeRa || exact mixture), in nats. Left: a small trial in which every
completion can be listed, so that the true gap stands beside its estimates from samples. Middle:
the gap that is estimated for each task and objective at each mixing weight λ. Right: the same
gaps, for λ outside [0, 1], against the share of broken completions. A faded mark is a gap above
half the logarithm of the number of completions per prompt, which are too few to measure it.
"""

KEYS = ["task", "objective", "anchor", "lam"]
#: The colours of few and of many samples. No policy has these colours.
SAMPLE_COLORS = ("#E69F00", "#56B4E9")
#: Below this many nats the axis is linear, because the gaps at lam = 0 and 1 lie there.
LINEAR_BELOW = 1e-4
#: How gaps are drawn that the samples are too few to measure.
FADED: dict[str, Any] = dict(alpha=0.45, markerfacecolor="white")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw the enumerated trial, the gaps over lam, and the gaps beside broken completions."""
    gaps = gap_table(selection.with_dera(tables["policies"]))
    colors = dict(zip(dict.fromkeys(gaps["task"]), style.TASK_COLORS, strict=False))
    looks = style.objective_looks(gaps["objective"])
    figure, (trial, over_lam, with_broken) = plt.subplots(1, 3, figsize=(style.PAGE, 3.3))

    # The estimates: the trial at the left, then each objective of each task.
    _trial(trial, tables["gap_trial"])
    for (task, objective), rows in gaps.groupby(["task", "objective"], sort=False):
        look = {"color": colors[task], **looks[objective], "markersize": 3}
        line = dict(color=look["color"], linestyle=look["linestyle"], linewidth=0.9, alpha=0.6)
        over_lam.plot(rows["lam"], rows["gap"], **line)
        _marks(over_lam, rows, "lam", look)
        _marks(with_broken, rows[(rows["lam"] < 0) | (rows["lam"] > 1)], "broken", look)

    # The axes: gaps range over many orders of magnitude, and are nearly 0 at lam = 0 and 1.
    for axes in (over_lam, with_broken):
        axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axes.set_ylim(-LINEAR_BELOW / 2, 1.5 * gaps["gap_high"].max())
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR_BELOW))
        axes.set_ylabel(style.QUANTITIES["gap"])
    for axes in (trial, over_lam):
        panels.wide_lam_axis(axes)
        panels.mark_ends(axes)
    over_lam.set_title("each task")
    with_broken.set(xlabel=style.QUANTITIES["broken"], xlim=(-0.04, 1.04))
    with_broken.set_title("each task, λ outside [0, 1]")

    figure.legend(*trial.get_legend_handles_labels(), loc="outside upper left")
    figure.legend(handles=_key(colors, looks), loc="outside upper right", ncols=2)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return the largest gap that the samples can show between lam = 0 and lam = 1."""
    gaps = gap_table(selection.with_dera(tables["policies"]))
    shown = gaps[gaps["trusted"] & gaps["lam"].between(0, 1)]
    if not len(shown):
        return ""
    return f"Between λ = 0 and λ = 1 the gap is at most {shown['gap'].max():.2g} nats."


def gap_table(policies: pd.DataFrame) -> pd.DataFrame:
    """Return the gap and DeRa's share of broken completions at each lam of the default anchors.

    The column `trusted` says whether the samples could show such a gap. From n completions of a
    prompt, log E[w] can be estimated only while the gap is well below log n. A gap is trusted up to
    half of log n. A prompt has n completions from each seed, however many seeds are averaged.
    """
    tables = []
    for (_, objective), of_objective in policies.groupby(["task", "objective"], sort=False):
        dera = selection.of_default_anchor(of_objective, objective, "dera")
        mixture = selection.of_default_anchor(of_objective, objective, "mixture")

        # The share of broken completions is DeRa's, because DeRa was sampled and the mixture not.
        broken = dera[[*KEYS, "broken", "broken_low", "broken_high"]]
        unbroken = mixture.drop(columns=["broken", "broken_low", "broken_high"])
        joined = unbroken.merge(broken, on=KEYS)

        per_prompt = mixture["completions"].min() / mixture["prompts"].min()
        tables.append(joined.assign(trusted=joined["gap"] <= np.log(per_prompt) / 2))
    return pd.concat(tables)


def _trial(axes: Axes, trial: pd.DataFrame) -> None:
    """Draw the true gap as a line, and its estimates from each number of samples as marks."""
    true = trial.drop_duplicates("lam").sort_values("lam")
    line = dict(color="#000000", linewidth=0.9, label="true gap, from all completions")
    axes.plot(true["lam"], true["enumerated"], **line)
    for (samples, rows), color in zip(trial.groupby("samples"), SAMPLE_COLORS, strict=False):
        look: dict[str, Any] = dict(color=color, marker="o", markersize=3)
        look["label"] = f"estimate from {samples} samples per prompt"
        style.with_interval(axes, rows, "lam", "estimated", "estimate", line=False, **look)
    axes.set_yscale("log")
    axes.set(ylabel=style.QUANTITIES["gap"], title="trial: all completions listed")


def _marks(axes: Axes, rows: pd.DataFrame, x: str, look: dict[str, Any]) -> None:
    """Draw the gaps of one objective against `x`; those that are not trusted are faded."""
    for trusted, marks in rows.groupby("trusted"):
        own = look | dict(linestyle="none", markerfacecolor=look["color"], label=None)
        if not trusted:
            own |= FADED
        style.with_interval(axes, marks, x, "gap", "mixture", x_interval=x == "broken", **own)


def _key(colors: dict[str, str], looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Return the legend of tasks, of objectives and of faded marks."""
    grey: dict[str, Any] = dict(color="#555555", markersize=3)
    key = [Line2D([], [], color=color, label=task) for task, color in colors.items()]
    for name, look in looks.items():
        key.append(Line2D([], [], label=style.objective_name(name), **grey, **look))
    faded = grey | FADED | dict(linestyle="none", marker="s", label="faded: too few samples")
    return [*key, Line2D([], [], **faded)]


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
