"""DeRa beside its baselines from the same models: reward for the distance from the reference, and for the passes of a model a token."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import selection, style

PASSES = {
    "reference": 1,
    "retrained": 1,
    "weights": 1,
    "temperature": 1,
    "dera": 2,
    "probabilities": 2,
    "top-k": 2,
}
BASELINES = ("weights", "probabilities", "temperature", "top-k", "best-of-n")
APART = 0.13  # of a doubling: between marks of as many passes


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """The objective that has baselines, all decoded from its grid anchor and of the baselines' seed; DeRa at readable lam."""
    shown = contents(tables["policies"])
    figure, (frontier, compute) = plt.subplots(
        1, 2, figsize=(style.PAGE, 3.6), sharey=True, width_ratios=(1.25, 1)
    )
    for kind, rows in shown.items():
        # the aligned model is the model retrained at the anchor
        look = {"label": f"aligned, β₀ = {rows['beta'].iloc[0]:g}"} if kind == "retrained" else {}
        order = "lam" if kind == "dera" else "knob"
        style.with_interval(
            frontier, rows, "kl", "reward", kind, x_interval=True, order=order, **look
        )
    frontier.set_xscale("symlog", linthresh=0.1)
    frontier.set_xlim(left=-0.02)
    frontier.set_xlabel(style.QUANTITIES["kl"])
    frontier.set_ylabel(style.QUANTITIES["reward"])
    frontier.set_title(style.objective_name(shown["reference"]["objective"].iloc[0]))
    _at_matched_compute(compute, shown)
    figure.legend(*frontier.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def contents(policies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of each kind that is drawn: DeRa, the aligned model, and the baselines, all of one seed; the reference."""
    baselines = policies[policies["kind"].isin(BASELINES)]
    objective, seeds = baselines["objective"].iloc[0], baselines["seed"].astype(str)
    mine = policies[policies["objective"] == objective]
    decoded = seeds[seeds != "mean"]
    of_seed = mine[mine["seed"].astype(str) == (decoded.iloc[0] if len(decoded) else "mean")]
    anchor = selection.of_default_anchor(policies, objective)["anchor"].iloc[0]
    found = {
        "dera": selection.readable(
            of_seed[(of_seed["kind"] == "dera") & np.isclose(of_seed["anchor"], anchor)]
        ),
        **{kind: of_seed[of_seed["kind"] == kind] for kind in BASELINES},
        "best-of-n": mine[mine["kind"] == "best-of-n"],
        "retrained": of_seed[
            (of_seed["kind"] == "retrained") & np.isclose(of_seed["beta"], anchor)
        ],
        "reference": mine[mine["kind"] == "reference"],
    }
    return {kind: rows for kind, rows in found.items() if len(rows)}


def affordable(kind: str, rows: pd.DataFrame, most: float) -> pd.DataFrame:
    """What a kind reaches with a KL of at most so much, and its passes a token: its policy of most reward, or the best of each n."""
    if kind == "best-of-n":
        return rows.assign(passes=rows["knob"])
    return rows[rows["kl"] <= most].nlargest(1, "reward").assign(passes=PASSES[kind])


def _at_matched_compute(axes: Axes, shown: dict[str, pd.DataFrame]) -> None:
    most = shown["retrained"]["kl_high"].iloc[
        0
    ]  # a policy as far away as the aligned model may be measured a little further
    points = pd.concat([affordable(kind, rows, most) for kind, rows in shown.items()])
    equal = points.groupby("passes")["kind"]
    place = equal.cumcount() - (equal.transform("size") - 1) / 2
    ticks = sorted(points["passes"].unique())
    for kind, rows in points.assign(passes=points["passes"] * 2 ** (APART * place)).groupby(
        "kind", sort=False
    ):
        style.with_interval(axes, rows, "passes", "reward", kind, line=False)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("passes of a model a token")
    axes.set_title("at matched compute")


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["policies"])
