"""Refusal of harmful, of harmless-but-alike and of plain requests against lam, and what breaks."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures import selection, style

# Colours of no policy: here a colour is a kind of request or of completion, and the marker says whose it is.
REQUESTS: dict[str, dict[str, Any]] = {
    "refused_harmful": dict(color="#882255", linestyle="-", label="harmful requests\nrefused"),
    "refused_alike": dict(color="#E69F00", linestyle="--", label="harmless but alike\nrefused"),
    "refused_plain": dict(color="#56B4E9", linestyle="-.", label="harmless, plain\nrefused"),
}
OTHERS: dict[str, dict[str, Any]] = {
    "helped_harmless": dict(
        color="#332288", linestyle="-", label="harmless requests\n(both) helped"
    ),
    "broken": dict(color="#A6761D", linestyle="--", label="broken completions\n(of all requests)"),
}
PANELS = {"share of the requests": REQUESTS, "share": OTHERS}


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A column an objective; refusals above, help and broken completions below."""
    policies = selection.realigned(tables["policies"])
    objectives = list(dict.fromkeys(policies["objective"].dropna()))
    figure, grid = plt.subplots(
        2, len(objectives), figsize=(style.PAGE, 4.8), squeeze=False, sharex="col", sharey="row"
    )
    for column, objective in zip(grid.T, objectives, strict=True):
        found = selection.at_matching_lam(policies, objective)
        for axes, (label, looks) in zip(column, PANELS.items(), strict=True):
            for name, look in looks.items():
                style.with_interval(axes, found["dera"], "lam", name, "dera", **look)
                style.with_interval(
                    axes,
                    found["retrained"],
                    "lam",
                    name,
                    "retrained",
                    **{**look, "linestyle": "none"},
                )
            axes.set_ylim(-0.03, 1.03)
            axes.set_ylabel(label if axes in grid[:, 0] else "")
            style.mark_ends(axes)
        style.wide_lam_axis(column[1])
        column[0].set_title(
            f"{style.objective_name(objective)}, β₀ = {found['dera']['anchor'].iloc[0]:g}"
        )
        column[1].set_xlabel("mixing weight λ")
    for axes, looks in zip(grid[:, -1], PANELS.values(), strict=True):
        lines = [plt.Line2D([], [], **look) for look in looks.values()]
        axes.legend(
            handles=lines,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            handlelength=2.5,
            labelspacing=1,
        )
    figure.legend(handles=_markers(), loc="outside upper center", ncols=2)
    return figure


def _markers() -> list[plt.Line2D]:
    """What the markers say, in no colour."""
    labels = {"dera": "DeRa", "retrained": "retrained at λ = β₀/β"}
    looks: dict[str, dict[str, Any]] = {
        "dera": dict(linestyle="-"),
        "retrained": dict(linestyle="none", markerfacecolor="none"),
    }
    return [
        plt.Line2D(
            [],
            [],
            color="#555555",
            marker=style.POLICIES[kind]["marker"],
            label=labels[kind],
            **look,
        )
        for kind, look in looks.items()
    ]


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
