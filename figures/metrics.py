"""Draw the metrics that a config names against lam.

DeRa stands beside retrained models at the lam that matches them, and beside the reference.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from figures import panels, selection, style

SCOPE = "task"
WHEN = "has_metrics"
READS = ["policies"]
CAPTION = """
The metrics that the config names ({metrics}) against the mixing weight λ. The line is DeRa from the
default anchor β₀, the strength of the aligned model that DeRa starts from. A model retrained at
another strength β stands at λ = β₀/β, where DeRa should equal it. The reference stands at λ = 0.
"""

PREFIX = "metric:"


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a row for each metric, and a column for each objective that DeRa starts from."""
    policies = tables["policies"]
    columns_of_metrics = [name for name in policies.columns if name.startswith(PREFIX)]
    names = [name for name in columns_of_metrics if not name.endswith(("_low", "_high"))]
    objectives = list(dict.fromkeys(policies.loc[policies["kind"] == "dera", "objective"]))
    height = 0.6 + 1.9 * len(names)
    figure, columns = panels.columns_of_panels(len(objectives), len(names), height, sharey="row")

    for column, objective in zip(columns, objectives, strict=True):
        kinds = selection.at_matching_lam(policies, objective)
        for axes, name in zip(column, names, strict=True):
            for kind, rows in kinds.items():
                style.with_interval(axes, rows, "lam", name, kind, line=kind == "dera")
            panels.mark_ends(axes)
            panels.wide_lam_axis(axes)
        column[0].set_title(style.objective_name(objective))
    labels = [name.removeprefix(PREFIX).replace("_", " ") for name in names]
    panels.label_rows(columns, labels)
    panels.share_legend(figure, [columns[0][0]], columns=3)
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
