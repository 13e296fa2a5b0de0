"""Draw one aligned model mixed with its own reference and with others."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from figures import panels, style

SCOPE = "task"
WHEN = "has_other_references"
READS = ["other_references"]
CAPTION = """
The same aligned model, mixed with its own reference (which is DeRa) and with references that it was
not aligned from. One of these is of the same kind: it was trained as the own reference was, with
another seed and on other demonstrations. Where the study starts from a pretrained model, that model
before SFT is another. Left: how far models retrained at the strength β are from each mixture at the
matched mixing weight, as KL(retrained || mixture) in nats over whole completions. The retrained
models have the training seed of the aligned model. A dash marks the KL to the reference that is
mixed in, which is where a mixture without any alignment would be. If the reference did not matter,
the marks of a strength would be at one height. Middle and right: gold, and the share of completions
that end by themselves and are not broken, over the mixing weight λ. At λ = 1 every mixture is the
aligned model itself, and at λ = 0 it is the reference that is mixed in. Intervals are 95%
t-intervals over seeds and prompts.
"""

#: How each reference is drawn: DeRa as in every figure, and the others as new policies are.
LOOKS: dict[str, dict[str, Any]] = {
    "own": {**style.POLICIES["dera"], "label": "its own reference (DeRa)"},
    "pretrained": {**style.MORE_POLICIES[1], "label": "the pretrained model before SFT"},
    "other": {**style.MORE_POLICIES[0], "label": "a reference of other demonstrations"},
}
#: How far the references of a strength stand apart, where strengths stand one apart.
APART = 0.2
#: Half the length of a dash.
DASH = 0.07
OVER_LAM = {"gold": style.QUANTITIES["gold"], "whole": "share of whole completions"}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw agreement with retrained models beside gold and whole text over lam."""
    table = tables["other_references"]
    references = [name for name in LOOKS if (table["reference"] == name).any()]
    figure, (agreement, *over_lam) = plt.subplots(1, 3, figsize=(style.PAGE, 2.8))
    _agreement(agreement, table[table["beta"].notna()], references)
    for axes, (column, label) in zip(over_lam, OVER_LAM.items(), strict=True):
        for name in references:
            rows = table[table["reference"] == name]
            style.with_interval(axes, rows, "lam", column, name, **LOOKS[name])
        axes.set_ylabel(label)
        axes.set_xlabel(panels.LAM)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        panels.mark_ends(axes)
    _within_a_share(over_lam[-1])
    panels.share_legend(figure, (over_lam[0], agreement), columns=2 if len(references) > 2 else 3)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return the KL to retrained models with the own reference, and with the nearest other one."""
    table = tables["other_references"]
    rows = table[table["beta"].notna()]
    own = rows.loc[rows["reference"] == "own", "kl_retrained"]
    others = rows.loc[rows["reference"] != "own", "kl_retrained"]
    if not (len(own) and len(others)):
        return ""
    return (
        f"Mixed with its own reference, DeRa is at most {own.max():.2g} nats from the retrained "
        f"models. Mixed with another reference, it is at least {others.min():.2g} nats from them."
    )


def _agreement(axes: Axes, rows: pd.DataFrame, references: list[str]) -> None:
    """Draw the KL from each retrained model to each mixture, a group of marks a strength."""
    betas = sorted(rows["beta"].unique())
    places = {beta: float(place) for place, beta in enumerate(betas)}
    for number, name in enumerate(references):
        aside = APART * (number - (len(references) - 1) / 2)
        of_reference = rows[rows["reference"] == name]
        beside = of_reference.assign(place=of_reference["beta"].map(places) + aside)
        look = {**LOOKS[name], "linestyle": "none"}
        style.with_interval(axes, beside, "place", "kl_retrained", name, **look)
        ends = (beside["place"] - DASH, beside["place"] + DASH)
        axes.hlines(beside["kl_reference"], *ends, color=look["color"], linewidth=1.5)
    axes.plot([], [], color="#333333", linewidth=1.5, label="KL to the reference mixed in")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    labels = [f"{beta:g}\n(λ = {lam:g})" for beta, lam in _matched(rows, betas)]
    axes.set_xticks(list(places.values()), labels)
    axes.set_xlim(-0.5, len(betas) - 0.5)
    axes.set_xlabel("retrained at β")
    axes.set_ylabel("KL(retrained || mixture) (nats)")


def _within_a_share(axes: Axes) -> None:
    """Cut the vertical axis of a share at 0 and 1, which an interval of few seeds may leave."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.02), min(high, 1.02))


def _matched(rows: pd.DataFrame, betas: list[float]) -> list[tuple[float, float]]:
    """Return each beta with the lam that matches it."""
    return [(beta, rows.loc[rows["beta"] == beta, "lam"].iloc[0]) for beta in betas]


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
