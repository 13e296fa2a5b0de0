"""Draw DeRa far outside [0, 1]: whether completions are still whole, fluent and good."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from figures import panels, selection, style

SCOPE = "study"
READS = ["policies"]
CAPTION = """
DeRa at mixing weights λ far outside [0, 1]. The shaded range goes from the reference (λ = 0) to
the aligned model (λ = 1). From top to bottom: the share of broken completions, the mean
log-probability per token under the reference, the length, the share of repeated trigrams, and the
mean of gold, which is the task's own verdict. A completion is broken if it does not end by itself
or is not in the language of the task. Where the task cannot tell its language, a completion that
mostly repeats itself counts as broken.
"""

MEASURES = {
    "broken": "share of broken\ncompletions",
    "fluency": "fluency\n(nats per token)",
    "length": "length\n(tokens)",
    "repetition": "share of\nrepeated trigrams",
    "gold": "mean gold\njudgement",
}
SHARES = ("broken", "repetition")
#: How the range between the reference and the aligned model is shaded.
BETWEEN: dict[str, Any] = dict(color="#DDDDDD", alpha=0.6, linewidth=0)
BETWEEN_LABEL = "from the reference (λ = 0) to the aligned model (λ = 1)"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a row for each measure, a column for each task, and a line for each objective."""
    policies = selection.with_dera(tables["policies"])
    looks = style.objective_looks(policies["objective"])
    tasks = list(dict.fromkeys(policies["task"]))
    size = (style.PAGE, 6.4)
    figure, all_axes = plt.subplots(
        len(MEASURES), len(tasks), figsize=size, squeeze=False, sharex=True
    )

    for column, task in zip(all_axes.T, tasks, strict=True):
        _column(column, policies[policies["task"] == task], looks)
        column[0].set_title(task)
    for axes, label in zip(all_axes[:, 0], MEASURES.values(), strict=True):
        axes.set_ylabel(label)
    figure.align_ylabels(all_axes[:, 0])

    # One entry for each objective, and one for the shaded range.
    handles: list[Any] = []
    color = style.POLICIES["dera"]["color"]
    for name, look in looks.items():
        label = f"DeRa, {style.objective_name(name)}"
        handles.append(Line2D([], [], **_look(look), color=color, label=label))
    handles.append(Patch(**BETWEEN, label=BETWEEN_LABEL))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return the largest shares of broken completions between lam = 0 and 1, and outside."""
    mean = selection.mean_over_seeds(selection.with_dera(tables["policies"]))
    dera = mean[mean["kind"] == "dera"]
    between = dera["lam"].between(0, 1)
    if between.all() or not between.any():
        return ""
    inside, beyond = dera.loc[between, "broken"].max(), dera.loc[~between, "broken"].max()
    return (
        f"At most {inside:.0%} of the completions are broken for λ between 0 and 1, and up to "
        f"{beyond:.0%} outside."
    )


def _column(column: list[Axes], policies: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw one task: DeRa over all lam of the default anchor of each objective."""
    for axes, measure in zip(column, MEASURES, strict=True):
        for objective in dict.fromkeys(policies["objective"]):
            rows = selection.of_default_anchor(policies, objective)
            if rows[measure].notna().any():
                look = _look(looks[objective])
                style.with_interval(axes, rows, "lam", measure, "dera", **look)
        axes.axvspan(0, 1, **BETWEEN, zorder=0)
        if measure in SHARES:
            axes.set_ylim(-0.04, 1.04)
    panels.wide_lam_axis(column[-1])


def _look(look: dict[str, Any]) -> dict[str, Any]:
    """Return the look of an objective with hollow marks for all but the first.

    The colour does not tell objectives apart, because it says that the policy is DeRa.
    """
    filling = None if look is style.OBJECTIVES[0] else "white"
    return {**look, "markersize": 3, "markerfacecolor": filling}


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
