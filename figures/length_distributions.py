"""Draw the lengths of completions: retrained models beside DeRa at the same strength."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style

SCOPE = "task"
TASKS = ["length"]
READS = ["lengths", "policies"]
CAPTION = """
Lengths of the summaries by models retrained at each strength β, beside the lengths by DeRa at the
same effective strength. DeRa starts from the default anchor β₀, at λ = β₀/β.
The line is the reference, which is the same in each panel. The reward is 0 for a summary of
{settings.min_tokens} to {settings.max_tokens} tokens (shaded) and -1 for any other.
"""

MAX_COLUMNS = 4
#: A panel has at most about this many bins.
MAX_BINS = 20
#: Where the bar of each kind stands in its bin, in widths of a bin.
SHIFTS = {"retrained": -0.25, "dera": 0.25}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a panel for each beta of the main objective."""
    lengths = tables["lengths"]
    objective = selection.main_objective(tables["policies"])
    anchor = selection.default_anchor(tables["policies"], objective)
    kinds = of_objective(lengths, objective, anchor)
    trained = kinds["retrained"]["beta"].unique()
    betas = sorted(beta for beta in trained if beta != anchor) or [anchor]

    # The panels, and the bins that all of them share.
    columns = min(len(betas), MAX_COLUMNS)
    rows = math.ceil(len(betas) / columns)
    size = (style.PAGE, 0.6 + 1.9 * rows)
    figure, all_axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True
    )
    matched = pd.concat([at_lam(kinds["dera"], anchor / beta) for beta in betas])
    width = _bin_width(pd.concat([kinds["retrained"], matched, kinds["reference"]]))
    rewarded = lengths[lengths["gold"] == lengths["gold"].max()]["length"]

    for axes, beta in zip(all_axes.flat, betas, strict=False):
        lam = anchor / beta
        of_beta = kinds["retrained"][kinds["retrained"]["beta"] == beta]
        shown = {"retrained": of_beta, "dera": at_lam(kinds["dera"], lam)}
        _panel(axes, shown, kinds["reference"], width, rewarded)
        axes.set_title(f"β = {beta:g} (λ = {lam:.3g})")
    for axes in all_axes[-1]:
        axes.set_xlabel(style.QUANTITIES["length"])
    for axes in all_axes[:, 0]:
        axes.set_ylabel("share of completions")
    for axes in all_axes.flat[len(betas) :]:
        axes.set_visible(False)
    _legend(figure, all_axes[0, 0], f"{style.objective_name(objective)}, DeRa from β₀ = {anchor:g}")
    return figure


def of_objective(
    lengths: pd.DataFrame, objective: str, anchor: float | None
) -> dict[str, pd.DataFrame]:
    """Return the rows of retrained models, of DeRa from this anchor, and of the reference."""
    rows = lengths[lengths["objective"] == objective]
    return {
        "retrained": rows[rows["kind"] == "retrained"],
        "dera": selection.at_anchor(rows[rows["kind"] == "dera"], anchor),
        "reference": lengths[lengths["kind"] == "reference"],
    }


def at_lam(rows: pd.DataFrame, lam: float) -> pd.DataFrame:
    """Return the rows at this mixing weight."""
    return rows[np.isclose(rows["lam"], lam)]


def _panel(
    axes: Axes,
    shown: dict[str, pd.DataFrame],
    reference: pd.DataFrame,
    width: int,
    rewarded: pd.Series,
) -> None:
    """Draw bars for each kind and a line for the reference; shade the rewarded lengths."""
    for kind, rows in shown.items():
        share = _binned(rows, width)
        places = share.index + SHIFTS[kind] * width
        look = style.POLICIES[kind]
        axes.bar(places, share, width=0.45 * width, color=look["color"], label=look["label"])
    share = _binned(reference, width)
    color = style.POLICIES["reference"]["color"]
    line = dict(color=color, linewidth=0.9, label="reference")
    axes.step(share.index, share, where="mid", **line)
    shade = dict(color="#F0E442", alpha=0.35, linewidth=0, zorder=0, label="rewarded lengths")
    axes.axvspan(rewarded.min() - 0.5, rewarded.max() + 0.5, **shade)


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    place = dict(loc="outside upper center", ncols=len(labels))
    figure.legend(handles, labels, title=title, title_fontsize=8, **place)


def _bin_width(lengths: pd.DataFrame) -> int:
    """Return a whole number of tokens, so that a panel has at most about MAX_BINS bins."""
    return max(1, math.ceil(lengths["length"].quantile(0.999) / MAX_BINS))


def _binned(rows: pd.DataFrame, width: int) -> pd.Series:
    """Return the share of completions in each bin, by the middle of the bin."""
    middles = rows["length"] // width * width + (width - 1) / 2
    counts = rows.groupby(middles)["count"].sum()
    every_middle = np.arange((width - 1) / 2, counts.index.max() + width, width)
    return (counts / counts.sum()).reindex(every_middle, fill_value=0.0)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
