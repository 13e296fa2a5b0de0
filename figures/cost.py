"""Draw what DeRa saves and what it costs.

These are the seconds to reach the other strengths, the time to decode, and the parameters held.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from figures import style

SCOPE = "study"
READS = ["costs", "timings"]
CAPTION = """
What DeRa saves and what it costs. Left: seconds to reach all other strengths, for each task and
objective, by retraining a model for each of them and by DeRa. Both include decoding the held-out
prompts once at each strength. Bars are means over training seeds, of jobs that had one thread each
and shared the machine. A study with only one strength has no such panel.
Middle: time a token of two models over that of one, in interleaved repeats on the same prompts; a
dot is a repeat. Right: parameters that DeRa holds, divided by those of one model. An aligned model
that is no adapter has no bar for one.
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
    """Draw the seconds of each task and objective, and the time and memory of two models."""
    by_seed = tables["costs"]
    timings = tables["timings"]
    names = ["task", "objective"]
    costs = by_seed.groupby(names, sort=False).mean(numeric_only=True).reset_index()
    costs = costs[(costs["betas"] > 1) & costs["dera"].notna()].reset_index(drop=True)

    # Without other strengths there are no seconds to reach them.
    panels = 3 if len(costs) else 2
    widths = [1.7, 1, 1.1][-panels:]
    size = (style.PAGE, 1.3 + 0.42 * max(len(costs), 2))
    figure, all_axes = plt.subplots(1, panels, figsize=size, width_ratios=widths)
    if len(costs):
        _seconds(all_axes[0], costs)
    _decoding(all_axes[-2], timings)
    held = held_parameters(timings)
    _memory(all_axes[-1], held)
    handles = [Patch(**LEGEND[label], label=label) for label in held]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return how much longer two models take than one, in the median repeat."""
    timings = tables["timings"]
    ratio = (timings["two models"] / timings["one model"]).median()
    return f"In the median repeat, two models take {ratio:.2f} times as long as one."


def _seconds(axes: Axes, costs: pd.DataFrame) -> None:
    """Draw the seconds to train and decode a model for each other strength, and those of DeRa."""
    other_strengths = costs["betas"] - 1
    retraining = (costs["training"] + costs["retrained"]) * other_strengths
    dera = costs["dera"] * other_strengths
    saved = []
    for seconds, ratio in zip(dera, retraining / dera, strict=True):
        saved.append(f"{seconds:.1f} s, {ratio:.2g} times less")
    retraining_bars = (retraining, ONE_MODEL, [f"{seconds:.0f} s" for seconds in retraining])
    _bars(axes, [retraining_bars, (dera, TWO_MODELS, saved)])

    # The names of the rows, from top to bottom.
    names = []
    for task, objective in zip(costs["task"], costs["objective"], strict=True):
        names.append(f"{task}\n{style.objective_name(objective)}")
    axes.set_yticks(range(len(costs)), names)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)

    both = pd.concat([retraining, dera])
    axes.set_xscale("log")
    axes.set_xlim(both.min() / 2, both.max() * 4)
    axes.set(xlabel="seconds", title="time to reach the other strengths")


def _decoding(axes: Axes, timings: pd.DataFrame) -> None:
    """Draw the time a token of two models, in units of the time of one, for each repeat."""
    ratio = timings["two models"] / timings["one model"]
    axes.axhline(1, color=BLUE, linewidth=1, linestyle="--")
    axes.plot(range(1, len(ratio) + 1), ratio, "s", color=ORANGE)
    axes.set_ylim(0, 1.2 * ratio.max())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="repeat", ylabel="multiple of one model's", title="time a token")


def held_parameters(timings: pd.DataFrame) -> dict[str, float]:
    """Return the parameters that each way holds, in units of those of one model, by its label.

    An adapter that is as large as a model is a whole model, and its way is left out.
    """
    first = timings.iloc[0]
    with_adapter = 1 + first["adapter bytes"] / first["model bytes"]
    two_models = first["pair bytes"] / first["model bytes"]
    held = dict(zip(LEGEND, [1.0, with_adapter, two_models], strict=True))
    if with_adapter >= two_models:
        del held["DeRa, one model and its adapter"]
    return held


def _memory(axes: Axes, held: dict[str, float]) -> None:
    """Draw the parameters that each way holds."""
    for place, (label, value) in enumerate(held.items()):
        bars = axes.bar(place, value, width=0.6, **LEGEND[label])
        axes.bar_label(bars, [f"{value:.2f}×"], padding=2, fontsize=6)
    axes.set_xticks([])
    axes.set(xlabel="what is held", ylabel="multiple of one model's", title="parameters held")


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
    style.run(draw, __doc__ or "", READS, finding)
