"""The figure of other references shows each mixture at its height, in the look of its reference."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer

from figures import other_references

LAMS = (0.0, 0.25, 0.5, 1.0)
#: The beta that each lam matches; the lam 1 matches the anchor, whose model is not read.
MATCHED = {0.25: 1.0, 0.5: 0.5}
SHIFT = {"own": 0.0, "pretrained": 0.3, "other": 0.1}


def table(references=tuple(SHIFT)) -> pd.DataFrame:
    rows = []
    for name in references:
        for lam in LAMS:
            beta = MATCHED.get(lam)
            values = {
                "gold": lam - SHIFT[name] - 1,
                "whole": 0.9 - SHIFT[name] * (1 - lam),
                "kl_retrained": np.nan if beta is None else 0.02 + SHIFT[name] + lam / 100,
                "kl_reference": np.nan if beta is None else 1 + SHIFT[name],
            }
            row = {"reference": name, "lam": lam, "beta": beta, **values}
            for column, value in values.items():
                row |= {f"{column}_low": value - 0.01, f"{column}_high": value + 0.02}
            rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def draw():
    def draw(made: pd.DataFrame):
        figure = other_references.draw({"other_references": made})
        figure.canvas.draw()
        return figure

    yield draw
    plt.close("all")


def points(axes, name: str) -> list[tuple[float, float]]:
    """The points of one reference, left to right, found by its label."""
    label = other_references.LOOKS[name]["label"]
    (bars,) = [
        container
        for container in axes.containers
        if isinstance(container, ErrorbarContainer) and container.get_label() == label
    ]
    return sorted(zip(*map(list, bars.lines[0].get_data()), strict=True))


def test_gold_and_whole_text_are_drawn_at_every_lam(draw):
    made = table()
    _, gold, whole = draw(made).axes
    for axes, column in ((gold, "gold"), (whole, "whole")):
        for name, rows in made.groupby("reference"):
            drawn = np.array(points(axes, name))
            np.testing.assert_allclose(drawn, rows[["lam", column]].to_numpy())


def test_a_strength_has_a_mark_for_each_reference_side_by_side(draw):
    agreement = draw(table()).axes[0]
    heights = {name: [y for _, y in points(agreement, name)] for name in SHIFT}
    for name, shift in SHIFT.items():
        # beta = 0.5, whose matched lam is 0.5, stands left of beta = 1
        assert heights[name] == pytest.approx([0.025 + shift, 0.0225 + shift])
    places = [round(x) for name in SHIFT for x, _ in points(agreement, name)]
    assert places == [0, 1] * 3
    assert len({x for name in SHIFT for x, _ in points(agreement, name)}) == 6
    labels = [label.get_text() for label in agreement.get_xticklabels()]
    assert labels == ["0.5\n(λ = 0.5)", "1\n(λ = 0.25)"]


def test_a_dash_marks_the_divergence_to_the_reference_itself(draw):
    agreement = draw(table()).axes[0]
    dashes = {}
    for lines in agreement.collections:
        segments = [segment for segment in lines.get_segments() if segment[0][1] == segment[1][1]]
        if segments and segments[0][0][1] >= 1:
            dashes[to_hex(lines.get_color()[0])] = segments[0][0][1]
    expected = {
        other_references.LOOKS[name]["color"].lower(): 1 + shift for name, shift in SHIFT.items()
    }
    assert dashes == pytest.approx(expected)


def test_a_task_without_a_pretrained_model_has_two_references(draw):
    figure = draw(table(("own", "other")))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "its own reference (DeRa)",
        "a reference of other demonstrations",
        "KL to the reference mixed in",
    ]


def test_a_share_is_drawn_between_0_and_1(draw):
    made = table().assign(whole_low=-0.4, whole_high=1.3)
    low, high = draw(made).axes[-1].get_ylim()
    assert -0.05 < low <= 0
    assert 1 <= high < 1.05


def test_no_text_leaves_the_page_and_no_panel_is_unlabelled(draw):
    figure = draw(table())
    page = figure.bbox
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        box = axes.get_tightbbox()
        assert page.x0 <= box.x0
        assert page.y0 <= box.y0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
    for text in figure.legends[0].get_texts():
        box = text.get_window_extent()
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
