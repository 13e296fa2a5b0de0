"""DeRa at every lam from completions sampled at a few, beside the same policies decoded one by one."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

CURVE = "#56B4E9"  # of no policy: an estimate of DeRa, not another policy


def draw_curve(axes: Axes, curve: pd.DataFrame, quantity: str) -> None:
    """The estimate with its band where the samples support it, and where completions were sampled."""
    supported = curve.assign(
        **{
            name: curve[name].where(curve["supported"])
            for name in (quantity, f"{quantity}_low", f"{quantity}_high")
        }
    )
    axes.plot(
        supported["lam"],
        supported[quantity],
        color=CURVE,
        label="DeRa at every λ, from completions sampled at the ticks",
    )
    axes.fill_between(
        supported["lam"],
        supported[f"{quantity}_low"],
        supported[f"{quantity}_high"],
        color=CURVE,
        alpha=0.3,
        linewidth=0,
    )
    for lam in curve.loc[curve["sampled"], "lam"]:
        axes.plot(
            [lam],
            [0.02],
            marker="|",
            markersize=9,
            color=CURVE,
            markeredgewidth=2,
            transform=axes.get_xaxis_transform(),
        )


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """A column an objective; gold above, KL below; the first seed's adapter at the anchor with the fine grid."""
    curves, policies = tables["curves"], tables["policies"]
    objectives = list(dict.fromkeys(curves["objective"]))
    figure, columns = style.columns_of_panels(len(objectives), 2, 4.6, sharey="row")
    for column, objective in zip(columns, objectives, strict=True):
        column[0].sharex(column[1])
        column[0].tick_params(labelbottom=False)
        curve = curves[curves["objective"] == objective]
        anchor, seed = curve["adapter_beta"].iloc[0], str(curve["seed"].iloc[0])
        dera = policies[
            (policies["kind"] == "dera")
            & (policies["objective"] == objective)
            & (policies["anchor"] == anchor)
        ]
        decoded = dera[
            (dera["seed"].astype(str) == seed)
            & dera["lam"].between(curve["lam"].min(), curve["lam"].max())
        ]
        for axes, quantity in zip(column, ("gold", "kl"), strict=True):
            draw_curve(axes, curve, quantity)
            style.with_interval(axes, decoded, "lam", quantity, "dera", line=False)
            each = decoded["completions"].iloc[0] if len(decoded) else 0
            axes.containers[-1].set_label(f"DeRa decoded at each λ ({each:,} completions each)")
        column[1].set_yscale("symlog", linthresh=1)
        column[0].set_title(
            f"{style.objective_name(objective)}, β₀ = {anchor:g}\n{curve['completions'].iloc[0]:,} completions"
        )
        style.lam_axis(column[1])
    for column in columns:
        column[1].set_ylim(
            bottom=0
        )  # when all are drawn: it ends the scaling of axes that are shared
    style.label_rows(columns, [style.QUANTITIES[quantity] for quantity in ("gold", "kl")])
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["curves", "policies"])
