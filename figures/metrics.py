"""The user's own metrics against lam: DeRa, retrained models at the matching lam, and the reference."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from figures import selection, style

PREFIX = "metric:"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A panel for each metric, a column for each objective that DeRa starts from."""
    policies = tables["policies"]
    names = [
        name
        for name in policies.columns
        if name.startswith(PREFIX) and not name.endswith(("_low", "_high"))
    ]
    objectives = list(dict.fromkeys(policies.loc[policies["kind"] == "dera", "objective"]))
    figure, columns = style.columns_of_panels(
        len(objectives), len(names), 0.6 + 1.9 * len(names), sharey="row"
    )
    for column, objective in zip(columns, objectives, strict=True):
        for axes, name in zip(column, names, strict=True):
            for kind, rows in selection.at_matching_lam(policies, objective).items():
                style.with_interval(axes, rows, "lam", name, kind, line=kind == "dera")
            style.mark_ends(axes)
            style.wide_lam_axis(axes)
        column[0].set_title(style.objective_name(objective))
    style.label_rows(columns, [name.removeprefix(PREFIX).replace("_", " ") for name in names])
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
