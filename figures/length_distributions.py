"""Length distributions of retrained models beside DeRa at the same effective strength, a panel a beta."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures import selection, style


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Of the objectives that DeRa starts from that with most betas, its strongest anchor; the reference is the outline in every panel."""
    lengths = tables["lengths"]
    retrained, dera = (lengths[lengths["policy"] == kind] for kind in ("retrained", "dera"))
    objective = selection.realigned(lengths).groupby("objective")["adapter_beta"].nunique().idxmax()
    retrained, dera = (rows[rows["objective"] == objective] for rows in (retrained, dera))
    anchor = dera["adapter_beta"].min()
    dera = dera[dera["adapter_beta"] == anchor]
    reference = lengths[lengths["policy"] == "reference"]
    betas = sorted(beta for beta in retrained["adapter_beta"].unique() if beta != anchor) or [
        anchor
    ]
    columns = min(len(betas), 4)
    rows = math.ceil(len(betas) / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(style.PAGE, 0.6 + 1.9 * rows),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    matched = dera[[any(np.isclose(lam, anchor / beta) for beta in betas) for lam in dera["lam"]]]
    width = _bin_width(pd.concat([retrained, matched, reference]))
    best = lengths[lengths["gold"] == lengths["gold"].max()]["length"]
    for axes, beta in zip(grid.flat, betas, strict=False):
        lam = anchor / beta
        pairs = {
            "retrained": retrained[retrained["adapter_beta"] == beta],
            "dera": dera[np.isclose(dera["lam"], lam)],
        }
        for shift, (kind, found) in zip((-0.25, 0.25), pairs.items(), strict=True):
            share = _binned(found, width)
            look = style.POLICIES[kind]
            axes.bar(
                share.index + shift * width,
                share,
                width=0.45 * width,
                color=look["color"],
                label=look["label"],
            )
        share = _binned(reference, width)
        axes.step(
            share.index,
            share,
            where="mid",
            color=style.POLICIES["reference"]["color"],
            linewidth=0.9,
            label="reference",
        )
        axes.axvspan(
            best.min() - 0.5,
            best.max() + 0.5,
            color="#F0E442",
            alpha=0.35,
            linewidth=0,
            zorder=0,
            label="rewarded lengths",
        )
        axes.set_title(f"β = {beta:g} (λ = {lam:.3g})")
    for axes in grid[-1]:
        axes.set_xlabel("length (tokens)")
    for axes in grid[:, 0]:
        axes.set_ylabel("share of completions")
    for axes in grid.flat[len(betas) :]:
        axes.set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    title = f"{style.objective_name(objective)}, DeRa from anchor β₀ = {anchor:g}"
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        title=title,
        title_fontsize=8,
    )
    return figure


def _bin_width(lengths: pd.DataFrame) -> int:
    """Whole tokens a bin, so that a panel has some 20 bins at most."""
    return max(1, math.ceil(lengths["length"].quantile(0.999) / 20))


def _binned(rows: pd.DataFrame, width: int) -> pd.Series:
    counts = rows.groupby(rows["length"] // width * width + (width - 1) / 2)["count"].sum()
    centres = np.arange((width - 1) / 2, counts.index.max() + width, width)
    return (counts / counts.sum()).reindex(centres, fill_value=0.0)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["lengths"])
