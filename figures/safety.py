"""Draw how often requests of each kind are refused, and how many completions are broken."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import panels, selection, style

SCOPE = "task"
TASKS = ["safety", "chat_safety"]
READS = ["policies"]
CAPTION = """
Top: the share of requests that are refused, against the mixing weight λ. Harmful requests should
be refused. Harmless requests should not, neither those in the words of harmful ones nor plain ones.
Bottom: the share of harmless requests that get help, and the share of all completions that are
broken, which are no answer at all. DeRa starts from the model aligned at the strength β₀. A model
retrained at another strength β stands at λ = β₀/β, where DeRa should equal it.
"""

# A colour is a kind of request or of completion, and no policy has it. The marker is the policy.
REQUESTS: dict[str, dict[str, Any]] = {
    "refused_harmful": dict(color="#882255", linestyle="-", label="harmful requests\nrefused"),
    "refused_alike": dict(
        color="#E69F00", linestyle="--", label="harmless requests\nthat look alike\nrefused"
    ),
    "refused_plain": dict(
        color="#56B4E9", linestyle="-.", label="plain harmless\nrequests refused"
    ),
}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "helped_harmless": dict(
        color="#332288", linestyle="-", label="harmless requests\n(both kinds) helped"
    ),
    "broken": dict(color="#A6761D", linestyle="--", label="broken completions\n(of all requests)"),
}
#: The label of each panel's vertical axis, and what it shows.
PANELS = {"share of requests": REQUESTS, "share of completions": COMPLETIONS}
GREY = "#555555"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a column for each objective: refusals above, help and broken completions below."""
    policies = selection.with_dera(tables["policies"])
    objectives = list(dict.fromkeys(policies["objective"].dropna()))
    size = (style.PAGE, 4.8)
    figure, all_axes = plt.subplots(
        2, len(objectives), figsize=size, squeeze=False, sharex="col", sharey="row"
    )

    for column, objective in zip(all_axes.T, objectives, strict=True):
        kinds = selection.at_matching_lam(policies, objective)
        for axes, looks in zip(column, PANELS.values(), strict=True):
            _panel(axes, kinds, looks)
        panels.wide_lam_axis(column[1])
        anchor = kinds["dera"]["anchor"].iloc[0]
        column[0].set_title(f"{style.objective_name(objective)}, β₀ = {anchor:g}")
    for axes, label in zip(all_axes[:, 0], PANELS, strict=True):
        axes.set_ylabel(label)

    # What the colours say stands beside the panels, what the markers say above them.
    beside: dict[str, Any] = dict(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.5)
    for axes, looks in zip(all_axes[:, -1], PANELS.values(), strict=True):
        lines = [Line2D([], [], **look) for look in looks.values()]
        axes.legend(handles=lines, labelspacing=1, **beside)
    figure.legend(handles=_markers(), loc="outside upper center", ncols=2)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return what DeRa refuses at lam = 0 and at lam = 1, for the main objective."""
    dera = selection.from_reference_to_aligned(selection.with_dera(tables["policies"]))
    if dera is None:
        return ""
    harmful, alike = dera["refused_harmful"], dera["refused_alike"]
    return (
        f"From λ = 0 to λ = 1 refusals go from {harmful[0]:.0%} to {harmful[1]:.0%} of harmful "
        f"requests, and from {alike[0]:.0%} to {alike[1]:.0%} of harmless ones that look alike."
    )


def _panel(axes: Axes, kinds: dict[str, pd.DataFrame], looks: dict[str, dict[str, Any]]) -> None:
    """Draw some measures of DeRa as lines, and of retrained models as marks."""
    for measure, look in looks.items():
        style.with_interval(axes, kinds["dera"], "lam", measure, "dera", **look)
        marks = {**look, "linestyle": "none"}
        style.with_interval(axes, kinds["retrained"], "lam", measure, "retrained", **marks)
    axes.set_ylim(-0.03, 1.03)
    panels.mark_ends(axes)


def _markers() -> list[Line2D]:
    """Return the legend of the markers, in no colour."""
    dera = style.POLICIES["dera"]["marker"]
    retrained = style.POLICIES["retrained"]["marker"]
    hollow: dict[str, Any] = dict(linestyle="none", markerfacecolor="none")
    return [
        Line2D([], [], color=GREY, marker=dera, label="DeRa"),
        Line2D([], [], color=GREY, marker=retrained, label="retrained, at λ = β₀/β", **hollow),
    ]


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
