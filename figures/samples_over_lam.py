"""Draw one prompt, with a completion by DeRa at every lam and by each of the two models alone."""

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

SCOPE = "task"
READS = ["samples", "policies"]
CAPTION = """
One held-out prompt, and what each policy writes for it: DeRa at each mixing weight λ, the
reference, and the model retrained at the anchor. Gold is the task's own verdict on the completion.
The prompt is the first one held out, or the first harmful one where a task has harmful requests.
The completion is the first that the policy drew. So nothing is chosen for its looks. The first
figure of the paper is of this kind.
"""

# Sizes in points. The letters are monospaced, and ADVANCE is the width of one in units of its size.
SIZE = 6.5
ADVANCE = 0.603
LINE_HEIGHT = 9.0
GAP = 5.0  # between two rows of the table
LABELS_WIDTH = 88.0
GOLD_WIDTH = 42.0
WIDTH = style.PAGE * 72
#: Letters that fit into a line.
MAX_LETTERS = int((WIDTH - LABELS_WIDTH - GOLD_WIDTH - 4) / (SIZE * ADVANCE))


class Row(NamedTuple):
    """One row of the table that the figure draws; the prompt has no gold."""

    kind: str
    label: str
    lines: list[str]
    gold: float | None


def draw(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw one prompt as the main objective answers it, from its default anchor."""
    samples = tables["samples"]
    title, rows = contents(samples, tables["policies"])

    # One panel that fills the page, measured in points from the upper left corner.
    height = sum(_height(row) for row in rows) + LINE_HEIGHT + 2 * GAP
    figure, axes = plt.subplots(figsize=(style.PAGE, height / 72))
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")

    # The heading, then one row below the other.
    axes.text(WIDTH - GOLD_WIDTH + 4, GAP, "gold", size=SIZE, va="top")
    axes.text(4, GAP, title, size=SIZE, va="top")
    scale = plt.get_cmap("cividis"), colors.Normalize(samples["gold"].min(), samples["gold"].max())
    top = GAP + LINE_HEIGHT
    for row in rows:
        _write(axes, row, top, scale)
        top += _height(row)
    return figure


def contents(samples: pd.DataFrame, policies: pd.DataFrame) -> tuple[str, list[Row]]:
    """Return the title and the rows of the table.

    The prompt comes first, then the policies by lam. The reference stands before DeRa's lam of 0,
    and the model retrained at the anchor stands after DeRa's lam of 1.
    """
    of_prompt = samples[samples["prompt_id"] == _prompt_id(samples)]
    objective = selection.main_objective(policies)
    anchor = selection.default_anchor(policies, objective)
    of_objective = of_prompt[of_prompt["objective"] == objective]

    # The completions of each kind.
    dera = selection.at_anchor(of_objective[of_objective["kind"] == "dera"], anchor)
    retrained = of_objective[of_objective["kind"] == "retrained"]
    retrained = retrained[np.isclose(retrained["beta"], anchor)]
    reference = of_prompt[of_prompt["kind"] == "reference"]

    # Their place among the lam, their label, and their row of the samples.
    placed = [(row["lam"], f"λ = {row['lam']:g}", row) for _, row in dera.iterrows()]
    placed += [(-1e-9, "reference", row) for _, row in reference.iterrows()]
    aligned = f"retrained, β = {anchor:g}"
    placed += [(1 + 1e-9, aligned, row) for _, row in retrained.iterrows()]
    placed.sort(key=lambda item: item[0])

    rows = [Row("prompt", "prompt", wrap(of_prompt["prompt"].iloc[0]), None)]
    for _, label, row in placed:
        rows.append(Row(row["kind"], label, wrap(row["completion"]), row["gold"]))
    name = f"{style.objective_name(objective)}, β₀ = {anchor:g}"
    return f"DeRa at each λ, {name}; the first completion of each policy", rows


def wrap(text: object) -> list[str]:
    """Return lines that fit, with a mark in place of control characters, which have no width.

    A table's empty text is read as NaN and becomes "(nothing)".
    """
    if not isinstance(text, str):
        return ["(nothing)"]
    lines = []
    for line in text.split("\n"):
        letters = [letter if letter.isprintable() else "\ufffd" for letter in line.strip(" \t\r")]
        lines += textwrap.wrap("".join(letters), MAX_LETTERS)
    return lines or ["(nothing)"]


def _prompt_id(samples: pd.DataFrame) -> int:
    """Return the first prompt, or the first harmful one where the task has harmful requests."""
    if "refused_harmful" in samples:
        harmful = samples[samples["refused_harmful"].notna()]
        if len(harmful):
            return harmful["prompt_id"].min()
    return samples["prompt_id"].min()


def _height(row: Row) -> float:
    return LINE_HEIGHT * len(row.lines) + GAP


def _write(
    axes: Axes, row: Row, top: float, scale: tuple[colors.Colormap, colors.Normalize]
) -> None:
    """Write one row, whose upper edge is at `top`; a row that is not DeRa's stands on grey."""
    if row.kind != "dera":
        background = dict(color="#EEEEEE", linewidth=0)
        axes.add_patch(Rectangle((0, top), WIDTH, _height(row), **background))

    # The label in the colour of the policy, and the text line by line.
    look: dict[str, Any] = dict(va="top", size=SIZE, parse_math=False)
    look["linespacing"] = LINE_HEIGHT / SIZE / 1.2
    color = style.POLICIES[row.kind]["color"] if row.kind in style.POLICIES else "black"
    text_top = top + GAP / 2
    axes.text(4, text_top, row.label, color=color, weight="bold", **look)
    for number, line in enumerate(row.lines):
        place = text_top + number * LINE_HEIGHT
        axes.text(LABELS_WIDTH, place, line, family="monospace", **look)

    # The gold as a colour and as a number.
    if row.gold is not None and not pd.isna(row.gold):
        colormap, norm = scale
        left = WIDTH - GOLD_WIDTH + 4
        axes.add_patch(Rectangle((left, text_top), 8, 8, color=colormap(norm(row.gold))))
        axes.text(left + 11, text_top, f"{row.gold:.2f}", **look)


if __name__ == "__main__":
    style.run(draw, __doc__ or "", READS)
