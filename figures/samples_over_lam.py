"""One prompt, and a completion of it by DeRa at every lam, by the reference and by the aligned model itself."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from figures import selection, style

SIZE, LINE, GAP = 6.5, 9.0, 5.0  # points: letters, a line of text, between two rows
ADVANCE = 0.603  # of a letter of the monospaced face, in its size
LABELS, GOLD = 88.0, 42.0  # points: width of the columns of labels and of gold
WIDTH = style.PAGE * 72
FIT = int((WIDTH - LABELS - GOLD - 4) / (SIZE * ADVANCE))  # letters a line


class Row(NamedTuple):
    """One line of the figure's table; the prompt has no gold."""

    kind: str
    label: str
    lines: list[str]
    gold: float | None


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Of the objectives that DeRa starts from that with most completions, its anchor with most lam; the prompt is the first (harmful, where some are)."""
    samples = tables["samples"]
    title, rows = contents(samples)
    height = sum(_height(row) for row in rows) + LINE + 2 * GAP
    figure, axes = plt.subplots(figsize=(style.PAGE, height / 72))
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    scale = plt.get_cmap("cividis"), colors.Normalize(samples["gold"].min(), samples["gold"].max())
    top = GAP + LINE
    axes.text(WIDTH - GOLD + 4, GAP, "gold", size=SIZE, va="top")
    axes.text(4, GAP, title, size=SIZE, va="top")
    for row in rows:
        _write(axes, row, top, scale)
        top += _height(row)
    return figure


def contents(samples: pd.DataFrame) -> tuple[str, list[Row]]:
    """What is shown; the prompt; then by lam: the reference before DeRa's 0, the retrained anchor after its 1."""
    harmful = (
        samples[samples["refused_harmful"].notna()] if "refused_harmful" in samples else samples
    )
    prompt = (harmful if len(harmful) else samples)["prompt_id"].min()
    found = samples[samples["prompt_id"] == prompt]
    objective = selection.realigned(found).groupby("objective", sort=False).size().idxmax()
    mine = found[found["objective"] == objective]
    dera = mine[mine["policy"] == "dera"]
    anchor = dera.groupby("adapter_beta")["lam"].nunique().idxmax()
    dera = dera[dera["adapter_beta"] == anchor]
    retrained = mine[(mine["policy"] == "retrained") & np.isclose(mine["adapter_beta"], anchor)]
    reference = found[found["policy"] == "reference"]
    ordered = [(row["lam"], "dera", f"λ = {row['lam']:g}", row) for _, row in dera.iterrows()]
    ordered += [(-1e-9, "reference", "reference", row) for _, row in reference.iterrows()]
    ordered += [
        (1 + 1e-9, "retrained", f"retrained, β = {anchor:g}", row)
        for _, row in retrained.iterrows()
    ]
    ordered.sort(key=lambda item: item[0])
    rows = [Row("prompt", "prompt", wrap(found["prompt"].iloc[0]), None)]
    rows += [
        Row(kind, label, wrap(row["completion"]), row["gold"]) for _, kind, label, row in ordered
    ]
    return (
        f"DeRa at each λ, {style.objective_name(objective)}, β₀ = {anchor:g}; every policy's first completion",
        rows,
    )


def wrap(text: object) -> list[str]:
    """Lines that fit, without control characters, which have no width; a table's empty text reads as NaN."""
    given = str(text).split("\n") if isinstance(text, str) else []
    shown = [
        "".join(letter if letter.isprintable() else "\ufffd" for letter in line.strip(" \t\r"))
        for line in given
    ]
    return [part for line in shown for part in textwrap.wrap(line, FIT)] or ["(nothing)"]


def _height(row: Row) -> float:
    return LINE * len(row.lines) + GAP


def _write(
    axes: Axes, row: Row, top: float, scale: tuple[colors.Colormap, colors.Normalize]
) -> None:
    """One row, whose upper edge is at `top`; what is not DeRa stands on grey."""
    color = style.POLICIES[row.kind]["color"] if row.kind in style.POLICIES else "black"
    if row.kind != "dera":
        axes.add_patch(Rectangle((0, top), WIDTH, _height(row), color="#EEEEEE", linewidth=0))
    text: dict[str, Any] = dict(
        va="top", size=SIZE, parse_math=False, linespacing=LINE / SIZE / 1.2
    )
    axes.text(4, top + GAP / 2, row.label, color=color, weight="bold", **text)
    for number, line in enumerate(row.lines):
        axes.text(LABELS, top + GAP / 2 + number * LINE, line, family="monospace", **text)
    if row.gold is not None and not pd.isna(row.gold):
        colormap, norm = scale
        axes.add_patch(
            Rectangle((WIDTH - GOLD + 4, top + GAP / 2), 8, 8, color=colormap(norm(row.gold)))
        )
        axes.text(WIDTH - GOLD + 15, top + GAP / 2, f"{row.gold:.2f}", **text)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", ["samples"])
