"""Draw DeRa at every lam, as estimated from completions sampled at a few lams and as decoded."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import panels, style

SCOPE = "task"
READS = ["curves", "policies"]
CAPTION = """
Gold (the task's own verdict) and KL to the reference of DeRa at every mixing weight λ. The curve
is estimated from completions that were sampled at a few λ only, which the ticks mark:
{dera.curve.samples} completions per prompt at each of them. The estimator is multiple importance
sampling, and the bands are 95% intervals. For comparison, the squares are DeRa decoded at that λ.
Curve and squares belong to the default anchor and the smallest training seed.
"""

#: The colour of the estimate. No policy has this colour, because the estimate is of DeRa.
CURVE = "#56B4E9"
QUANTITIES = ("gold", "kl")


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw a column for each objective, with gold above and KL below."""
    curves = tables["curves"]
    objectives = list(dict.fromkeys(curves["objective"]))
    figure, columns = panels.columns_of_panels(len(objectives), 2, 4.6, sharey="row")
    for column, objective in zip(columns, objectives, strict=True):
        _column(column, curves[curves["objective"] == objective], tables["policies"])

    # The limits come last, because setting them ends the scaling of axes that are shared.
    for column in columns:
        column[1].set_ylim(bottom=0)
    panels.label_rows(columns, [style.QUANTITIES[quantity] for quantity in QUANTITIES])
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def finding(tables: dict[str, pd.DataFrame]) -> str:
    """Return at which lam the first objective's gold is estimated to be highest."""
    curves = tables["curves"]
    supported = curves[curves["supported"]]
    if not len(supported):
        return ""
    first = supported["objective"].iloc[0]
    curve = supported[supported["objective"] == first]
    best = curve.loc[curve["gold"].idxmax()]
    return (
        f"DeRa's gold is estimated to be highest at λ = {best['lam']:.2g} "
        f"({style.objective_name(first)})."
    )


def draw_curve(axes: Axes, curve: pd.DataFrame, quantity: str) -> None:
    """Draw the estimate where the samples support it, and ticks at the sampled lam."""
    # Missing values interrupt the line where the estimate is not supported.
    value = curve[quantity].where(curve["supported"])
    low = curve[f"{quantity}_low"].where(curve["supported"])
    high = curve[f"{quantity}_high"].where(curve["supported"])
    label = "DeRa at every λ, from completions sampled at the ticks"
    axes.plot(curve["lam"], value, color=CURVE, label=label)
    axes.fill_between(curve["lam"], low, high, color=CURVE, alpha=0.3, linewidth=0)

    # The ticks stand just above the horizontal axis.
    just_above = axes.get_xaxis_transform()
    tick = dict(marker="|", markersize=9, color=CURVE, markeredgewidth=2, transform=just_above)
    for lam in curve.loc[curve["sampled"], "lam"]:
        axes.plot([lam], [0.02], **tick)


def _column(column: list[Axes], curve: pd.DataFrame, policies: pd.DataFrame) -> None:
    """Draw the curve of one objective beside the DeRa of the same anchor and seed."""
    objective = curve["objective"].iloc[0]
    anchor = curve["anchor"].iloc[0]
    column[0].sharex(column[1])
    column[0].tick_params(labelbottom=False)

    # What was decoded within the range of the curve.
    dera = policies[(policies["kind"] == "dera") & (policies["objective"] == objective)]
    of_seed = dera["seed"].astype(str) == str(curve["seed"].iloc[0])
    in_range = dera["lam"].between(curve["lam"].min(), curve["lam"].max())
    decoded = dera[(dera["anchor"] == anchor) & of_seed & in_range]
    completions = decoded["completions"].iloc[0] if len(decoded) else 0
    label = f"DeRa decoded at each λ ({completions:,} completions each)"

    for axes, quantity in zip(column, QUANTITIES, strict=True):
        draw_curve(axes, curve, quantity)
        style.with_interval(axes, decoded, "lam", quantity, "dera", line=False, label=label)
    column[1].set_yscale("symlog", linthresh=1)
    name = f"{style.objective_name(objective)}, β₀ = {anchor:g}"
    column[0].set_title(f"{name}\n{curve['completions'].iloc[0]:,} completions")
    panels.lam_axis(column[1])


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS, finding)
