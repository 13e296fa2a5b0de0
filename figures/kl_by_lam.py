"""Draw how far retrained models are from DeRa at each mixing weight, beside other seeds' models."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from figures import panels, style

SCOPE = "task"
READS = ["kl_by_lam"]
CAPTION = """
How far models retrained at the strength β are from DeRa, as KL(retrained || DeRa) in nats over
whole completions. DeRa starts from the model aligned at the anchor β₀. At the matched mixing weight
λ = β₀/β it should be the model retrained at β. The horizontal axis is λ divided by the matched λ.
If DeRa were perfect, each curve would be least close to 1 (the vertical line), and there it would
be as low as the dashed line of its colour. That line is the floor: the KL between two models
retrained at the same β with different seeds. A large dot marks where a curve is least. A dot left
of 1 says that DeRa moves too far from the reference at the matched λ, and a dot right of 1 says
that it does not move far enough. A triangle at the left edge is the KL to the reference, which is
where a policy without any alignment would be. In the panels "across seeds" DeRa starts from an
aligned model of another seed than the retrained model's, so that its curves compare with the floor.
There the curve of β = β₀ meets its floor at 1, because DeRa at λ = 1 is another seed's retrained
model. Its dot shows what the noise of training alone does: where that noise is large, the dot lies
left of 1, because a smaller λ has less of it. In the panels "within a seed" the seeds are the same.
There the curve of β = β₀ falls to 0 at 1, out of the panel, because DeRa at λ = 1 is that retrained
model itself. Grey marks the λ within a factor of 1.25 of the matched λ. Bands are 95% t-intervals
over seeds, drawn where there are three seeds or more.
"""

#: The rows of panels, and what the column `reader` calls them.
ROWS = ("across seeds", "within a seed")
#: Lam within this factor of the matched one counts as the matched one.
WINDOW = 1.25
#: The panels reach from this share of the least floor or minimum, but not from less than LOWEST, to
#: so many times the largest KL at the matched lam or to the reference.
BELOW = 0.5
LOWEST = 1e-3
ABOVE = 3
#: With fewer seeds, an interval over them would hide the curves.
SEEDS_OF_A_BAND = 3
TICKS = [0.25, 0.5, 1, 2, 4]


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a column of panels for each objective and anchor, across seeds and within a seed."""
    table = tables["kl_by_lam"]
    curves = table[table["reader"].isin(ROWS)]
    rows = [reader for reader in ROWS if (curves["reader"] == reader).any()]
    pairs = list(curves.groupby(["objective", "anchor"], sort=False).groups)
    colors = style.beta_colors(sorted(set(table["beta"])))

    height = 0.6 + 2.2 * len(rows)
    figure, columns = panels.columns_of_panels(len(pairs), len(rows), height, sharex=True)
    for column, (objective, anchor) in zip(columns, pairs, strict=True):
        of_objective = table[table["objective"] == objective]
        for axes, reader in zip(column, rows, strict=True):
            of_anchor = of_objective["anchor"].eq(anchor) | of_objective["anchor"].isna()
            axes.set_title(f"{style.objective_name(objective)}, anchor β₀ = {anchor:g},\n{reader}")
            if of_objective["reader"].eq(reader).any():
                _panel(axes, of_objective[of_anchor], reader, colors)
            else:
                message = "This objective has one seed."
                axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", size=7)
                axes.set_yticks([])
        column[-1].set_xlabel("λ / matched λ")
    panels.label_rows(columns, ["KL(retrained || DeRa) (nats)"] * len(rows))
    handles = _handles(colors, table)
    figure.legend(handles=handles, loc="outside upper center", ncols=(len(handles) + 1) // 2)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return how many retrained models DeRa is closest to at about the matched lam."""
    table = tables["kl_by_lam"]
    curves = table[table["reader"].isin(ROWS)]
    if not len(curves):
        return ""
    # Across seeds if there are several; the anchor's own model is no model of another strength.
    reader = next(name for name in ROWS if (curves["reader"] == name).any())
    rows = curves[(curves["reader"] == reader) & (curves["anchor"] != curves["beta"])]
    if not len(rows):
        return ""
    best = rows.loc[rows.groupby(["objective", "anchor", "beta"])["kl"].idxmin(), "factor"]
    close = best.between(1 / WINDOW, WINDOW).sum()
    return (
        f"DeRa is closest to {close} of {len(best)} retrained models at a λ within a factor of "
        f"{WINDOW:g} of the matched one."
    )


def _panel(axes: Axes, table: pd.DataFrame, reader: str, colors: dict[float, Any]) -> None:
    """Draw the curves of one objective, anchor and reader, beside the reference and the floor."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.axvspan(1 / WINDOW, WINDOW, color="#EEEEEE", linewidth=0, zorder=0)
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=1)

    low, high = [], []
    for beta, rows in table.groupby("beta"):
        color = colors[beta]
        curve = rows[rows["reader"] == reader].sort_values("factor")
        _curve(axes, curve, color)
        is_anchor = curve["anchor"].eq(beta).any()
        if reader == "across seeds" or not is_anchor:
            low.append(curve["kl"].min())
        high.append(curve.loc[curve["factor"].eq(1), "kl"].max())

        # The floor is about models of two seeds, as the curves across seeds are.
        if reader == "across seeds":
            floor = rows.loc[rows["reader"] == "floor", "kl"].mean()
            axes.axhline(floor, color=color, linestyle="--", linewidth=0.8)
            low.append(floor)
        reference = rows.loc[rows["reader"] == "reference", "kl"].mean()
        edge = axes.get_yaxis_transform()
        axes.plot(0, reference, ">", color=color, transform=edge, clip_on=False, zorder=4)
        high.append(reference)

    # An anchor that reads itself falls to 0, which a logarithmic axis cannot show.
    axes.set_ylim(max(BELOW * min(low, default=LOWEST), LOWEST), ABOVE * max(high))
    axes.set_xlim(TICKS[0], TICKS[-1])
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_minor_locator(NullLocator())


def _curve(axes: Axes, curve: pd.DataFrame, color: Any) -> None:
    """Draw KL against the factor with its interval, and mark where it is least."""
    least = 1e-9  # smaller than anything that is shown
    axes.plot(curve["factor"], curve["kl"].clip(lower=least), color=color)
    if curve["seeds"].min() >= SEEDS_OF_A_BAND:
        low, high = curve["kl_low"].clip(lower=least), curve["kl_high"]
        axes.fill_between(curve["factor"], low, high, color=color, alpha=0.15, linewidth=0)
    best = curve.loc[curve["kl"].idxmin()]
    axes.plot(best["factor"], max(best["kl"], least), "o", color=color, markersize=5, zorder=3)


def _handles(colors: dict[float, Any], table: pd.DataFrame) -> list[Any]:
    """Return the entries of the legend."""
    handles: list[Any] = []
    for beta, color in colors.items():
        handles.append(Line2D([], [], color=color, label=f"retrained at β = {beta:g}"))
    black = dict(color="#333333", linestyle="none")
    handles.append(Line2D([], [], marker="o", label="least KL", **black))
    if (table["reader"] == "floor").any():
        dashes = dict(color="#333333", linestyle="--", linewidth=0.8)
        handles.append(Line2D([], [], label="floor: another seed", **dashes))
    handles.append(Line2D([], [], marker=">", label="KL to the reference", **black))
    handles.append(Patch(color="#EEEEEE", label=f"λ within a factor of {WINDOW:g}"))
    return handles


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
