"""Draw the mean length of completions against lam."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
READS = ["policies"]
CAPTION = """
The mean length of completions, in tokens, against the mixing weight λ. The line is DeRa from the
default anchor β₀, the strength of the aligned model that DeRa starts from. A model retrained at
another strength β stands at λ = β₀/β, where DeRa should equal it. The reference stands at λ = 0.
"""


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a panel for each objective that DeRa starts from."""
    policies = selection.with_dera(tables["policies"])
    objectives = list(dict.fromkeys(policies["objective"]))
    figure, columns = panels.columns_of_panels(len(objectives), 1, 2.6, sharey="row")
    for column, objective in zip(columns, objectives, strict=True):
        (axes,) = column
        for kind, rows in selection.at_matching_lam(policies, objective).items():
            style.with_interval(axes, rows, "lam", "length", kind, line=kind == "dera")
        panels.mark_ends(axes)
        panels.wide_lam_axis(axes)
        axes.set_title(style.objective_name(objective))
    panels.label_rows(columns, ["tokens"])
    panels.share_legend(figure, [columns[0][0]], columns=3)
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
