"""The figure of KL against lam shows each curve, its least KL, its floor and the reference."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from eval.read_settings import FACTORS
from figures import kl_by_lam, style

BETAS = (0.25, 1.0)
#: The factor at which the made-up KL is least, by the beta of the retrained model.
LEAST = {0.25: 1.0, 1.0: 2.0}
FLOOR = 0.2
SEED_READERS = {"across seeds": FLOOR, "within a seed": 0.0}


def table(seeds: int) -> pd.DataFrame:
    """Curves that are parabolas in the log of the factor, of one objective and two anchors."""
    rows = []
    for beta in BETAS:
        labels = {"objective": "rloo", "beta": beta, "seeds": seeds}
        rows.append({**labels, "reader": "reference", "kl": 3 / beta})
        if seeds > 1:
            rows.append({**labels, "reader": "floor", "kl": FLOOR})
        for reader, lowest in SEED_READERS.items():
            if seeds == 1 and reader == "across seeds":
                continue
            for anchor in BETAS:
                for factor in FACTORS:
                    kl = lowest + np.log(factor / LEAST[beta]) ** 2
                    lam = factor * anchor / beta
                    of_dera = {"anchor": anchor, "factor": factor, "lam": lam, "kl": kl}
                    rows.append({**labels, "reader": reader, **of_dera})
    made = pd.DataFrame(rows)
    half = 0.1 if seeds > 1 else np.nan
    return made.assign(kl_low=made["kl"] - half, kl_high=made["kl"] + half)


@pytest.fixture
def panels():
    """Draws a table, and returns its visible panels by their title."""

    def draw(made: pd.DataFrame) -> dict:
        figure = kl_by_lam.draw({"kl_by_lam": made})
        figure.canvas.draw()
        visible = [axes for axes in figure.axes if axes.get_visible()]
        return {axes.get_title().replace("\n", " "): axes for axes in visible}

    yield draw
    plt.close("all")


def lines(axes, beta: float, **look: str) -> list:
    """The lines of a panel in the colour of this beta, with this marker or line style."""
    color = to_hex(style.beta_colors(list(BETAS))[beta])
    found = [line for line in axes.lines if to_hex(line.get_color()) == color]
    for name, value in look.items():
        found = [line for line in found if getattr(line, f"get_{name}")() == value]
    return found


def test_there_is_a_panel_for_each_anchor_across_seeds_and_within_one(panels):
    anchors = ("0.25", "1")
    expected = {f"RLOO, anchor β₀ = {a}, {reader}" for a in anchors for reader in SEED_READERS}
    assert set(panels(table(5))) == expected


def test_with_one_seed_only_panels_within_a_seed_are_drawn(panels):
    drawn = panels(table(1))
    assert set(drawn) == {f"RLOO, anchor β₀ = {a}, within a seed" for a in ("0.25", "1")}
    assert not any(axes.collections for axes in drawn.values())


def test_a_dot_marks_where_each_curve_is_least(panels):
    axes = panels(table(5))["RLOO, anchor β₀ = 0.25, across seeds"]
    for beta, factor in LEAST.items():
        (dot,) = lines(axes, beta, marker="o")
        assert dot.get_xdata() == pytest.approx([factor])
        assert dot.get_ydata() == pytest.approx([FLOOR])


def test_the_floor_is_a_dashed_line_in_the_panels_across_seeds_alone(panels):
    drawn = panels(table(5))
    for title, axes in drawn.items():
        for beta in BETAS:
            heights = [line.get_ydata()[0] for line in lines(axes, beta, linestyle="--")]
            assert heights == ([FLOOR] if "across" in title else [])


def test_the_reference_is_a_triangle_at_the_left_edge(panels):
    for axes in panels(table(5)).values():
        for beta in BETAS:
            (triangle,) = lines(axes, beta, marker=">")
            place = axes.transAxes.inverted().transform(
                triangle.get_transform().transform(triangle.get_xydata())[0]
            )
            assert place[0] == pytest.approx(0)
            assert triangle.get_ydata() == pytest.approx([3 / beta])
            assert axes.get_ylim()[0] < 3 / beta < axes.get_ylim()[1]


def test_a_vertical_line_marks_the_matched_lam(panels):
    for axes in panels(table(5)).values():
        assert any(np.allclose(line.get_xdata(), 1) for line in axes.lines)


@pytest.mark.parametrize(("seeds", "bands"), [(2, 0), (3, 2)])
def test_bands_are_drawn_from_three_seeds_on(panels, seeds, bands):
    for axes in panels(table(seeds)).values():
        assert len(axes.collections) == bands


def test_an_objective_of_one_seed_says_so_beside_one_of_several(panels):
    of_one = table(1).assign(objective="dpo")
    drawn = panels(pd.concat([table(5), of_one], ignore_index=True))
    texts = {title: [text.get_text() for text in axes.texts] for title, axes in drawn.items()}
    assert texts["DPO, anchor β₀ = 1, across seeds"] == ["This objective has one seed."]
    assert texts["DPO, anchor β₀ = 1, within a seed"] == []
