"""Draw what DeRa saves and what it costs.

These are the seconds to reach the other strengths, the time to decode, and the parameters held.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures import style

SCOPE = "study"
READS = ["costs"]
CAPTION = """
What DeRa saves and what it costs, for each task and objective. Left: seconds to reach all other
strengths, for one training seed, by retraining a model for each of them and by DeRa. Both include
decoding the held-out prompts once at each strength. A study with only one strength has no such
panel.
Middle: time to decode with DeRa at one λ, divided by the time that one model takes. Right:
parameters that DeRa holds, divided by those of one model. The jobs had one thread each and shared
the machine. Each number is a single measurement, so there are no intervals.
"""

BLUE = style.POLICIES["retrained"]["color"]
ORANGE = style.POLICIES["dera"]["color"]
ONE_MODEL: dict[str, Any] = dict(color=BLUE)
WITH_ADAPTER: dict[str, Any] = dict(color=ORANGE, alpha=0.45)
TWO_MODELS: dict[str, Any] = dict(color=ORANGE)
LEGEND = {
    "one model, retrained for each strength": ONE_MODEL,
    "DeRa, one model and its adapter": WITH_ADAPTER,
    "DeRa, two models": TWO_MODELS,
}

#: A group of bars: the values, their look, and the text at the end of each bar.
Bars = tuple[pd.Series, dict[str, Any], list[str]]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw one row for each task and objective."""
    costs = tables["costs"].reset_index(drop=True)

    # Without other strengths there are no seconds to reach them.
    shown = [_decoding, _memory]
    widths = [1, 1.1]
    if costs["runs per seed"].gt(1).any():
        shown = [_seconds, *shown]
        widths = [1.7, *widths]
    size = (style.PAGE, 1.1 + 0.42 * len(costs))
    figure, all_axes = plt.subplots(1, len(shown), figsize=size, sharey=True, width_ratios=widths)
    for axes, panel in zip(all_axes, shown, strict=True):
        panel(axes, costs)

    # The names of the rows, from top to bottom.
    names = []
    for task, objective in zip(costs["task"], costs["objective"], strict=True):
        names.append(f"{task}\n{style.objective_name(objective)}")
    all_axes[0].set_yticks(range(len(costs)), names)
    all_axes[0].invert_yaxis()
    for axes in all_axes:
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    handles = [Patch(**look, label=label) for label, look in LEGEND.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _seconds(axes: Axes, costs: pd.DataFrame) -> None:
    """Draw the seconds to train and decode a model for each other strength, and those of DeRa.

    An objective of one strength has no other strengths, and so no bars.
    """
    other_strengths = (costs["runs per seed"] - 1).replace(0, np.nan)
    retraining = (costs["seconds a run"] + costs["retrained"]) * other_strengths
    dera = costs["dera"] * other_strengths
    saved = []
    for seconds, ratio in zip(dera, retraining / dera, strict=True):
        saved.append(f"{seconds:.1f} s, {ratio:.2g} times less")
    retraining_bars = (retraining, ONE_MODEL, [f"{seconds:.0f} s" for seconds in retraining])
    _bars(axes, [retraining_bars, (dera, TWO_MODELS, saved)])

    both = pd.concat([retraining, dera])
    axes.set_xscale("log")
    axes.set_xlim(both.min() / 2, both.max() * 4)
    axes.set(xlabel="seconds", title="time to reach the other strengths")


def _decoding(axes: Axes, costs: pd.DataFrame) -> None:
    """Draw the time that DeRa takes to decode, in units of the time of one model."""
    ratio = costs["dera"] / costs["retrained"]
    _bars(axes, [(ratio, TWO_MODELS, _times(ratio))])
    axes.set(xlabel="multiple of one model's", title="time to decode at one λ")
    _from_one(axes)


def _memory(axes: Axes, costs: pd.DataFrame) -> None:
    """Draw the parameters that DeRa holds, in units of those of one model."""
    with_adapter = 1 + costs["adapter bytes"] / costs["model bytes"]
    two_models = costs["pair bytes"] / costs["model bytes"]
    adapter_bars = (with_adapter, WITH_ADAPTER, _times(with_adapter))
    _bars(axes, [adapter_bars, (two_models, TWO_MODELS, _times(two_models))])
    axes.set(xlabel="multiple of one model's", title="parameters held")
    _from_one(axes)


def _from_one(axes: Axes) -> None:
    """Draw a line at what one model takes, and leave space for the text at the end of the bars."""
    axes.axvline(1, color=BLUE, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1.2 * axes.get_xlim()[1])


def _times(values: pd.Series) -> list[str]:
    return [f"{value:.2f}×" for value in values]


def _bars(axes: Axes, groups: list[Bars]) -> None:
    """Draw one bar of each group in each row, with its text at its end.

    Values that are missing have neither a bar nor a text.
    """
    height = 0.8 / len(groups)
    for number, (values, look, texts) in enumerate(groups):
        known = values.notna()
        shift = (number - (len(groups) - 1) / 2) * height
        places = values.index[known] + shift
        bars = axes.barh(places, values[known], height=0.9 * min(height, 0.5), **look)
        labels = [text for text, drawn in zip(texts, known, strict=True) if drawn]
        axes.bar_label(bars, labels, padding=2, fontsize=6)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
