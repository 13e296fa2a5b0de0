"""Each cell of the matrix of agreement says what its interval says; metrics follow lam."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt

from eval.claims import agreement as claims
from figures import agreement, metrics
from tests.eval import synthetic

BELOW, OPEN, ABOVE, NOT_COUNTED = agreement.COLORS
CELLS = {  # the excess, its interval, whether the beta counts, converged: what the cell says
    0.25: (0.01, -0.05, 0.07, True, True, BELOW),
    0.5: (0.19, 0.09, 0.29, True, True, OPEN),
    2.0: (0.6, 0.5, 0.7, True, True, ABOVE),
    4.0: (0.0, -0.01, 0.01, True, False, NOT_COUNTED),
    8.0: (0.0, -0.01, 0.01, False, True, NOT_COUNTED),
}


@pytest.fixture
def table() -> pd.DataFrame:
    rows = []
    for task in ("length", "other"):
        for beta, (value, low, high, informative, premise, _) in CELLS.items():
            interval = {"excess": value, "excess_low": low, "excess_high": high, "share": 0.2}
            row = {"task": task, "objective": "slic", "anchor": 1.0, "beta": beta, "lam": 1 / beta}
            rows.append({**row, **interval, "informative": informative, "premise": premise})
    return pd.DataFrame(rows)


def test_without_a_second_strength_the_figure_says_that_there_is_nothing_to_compare(table):
    figure = agreement.draw({"agreement": table.iloc[:0]})
    (axes,) = figure.axes
    assert [text.get_text()[:33] for text in axes.texts] == ["No model has a second strength to"]
    plt.close(figure)


def test_each_cell_has_its_numbers_and_the_colour_of_what_they_say(table):
    figure = agreement.draw({"agreement": table})
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "0.25",
            "0.5",
            "1",
            "2",
            "4",
            "8",
        ]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["SLiC, β₀ = 1"]
        faces = {round(patch.get_x() + 0.5): patch.get_facecolor() for patch in axes.patches}
        places = {beta: [0.25, 0.5, 1, 2, 4, 8].index(beta) for beta in CELLS}
        assert faces == {
            places[beta]: colors.to_rgba(agreement.COLORS[cell[-1]]) for beta, cell in CELLS.items()
        }
        written = {round(text.get_position()[0]): text.get_text() for text in axes.texts}
        assert written[2] == "anchor"
        assert written[1] == "19%\n[9%, 29%]"
        assert written[4] == "0%*\n[-1%, 1%]"
    plt.close(figure)


def test_a_study_of_single_strengths_has_an_empty_matrix(table):
    figure = agreement.draw({"agreement": table.iloc[:0]})
    figure.canvas.draw()
    plt.close(figure)


def test_the_table_has_what_the_claims_have(tmp_path):
    evidence = synthetic.evidence(["0.25", "1", "4"], "1")
    claims.table(evidence).to_csv(tmp_path / "agreement.csv", index=False)
    table = pd.read_csv(tmp_path / "agreement.csv")
    rows = claims.compare(evidence, "rloo", Fraction(1))
    assert table["beta"].tolist() == [row["beta"] for row in rows]
    excess = [row["excess share"]["value"] for row in rows]
    assert table["excess"].tolist() == pytest.approx(excess)
    assert (table["share"] == claims.SHARE).all()
    none = synthetic.evidence(["1"], "1")
    claims.table(none).to_csv(tmp_path / "none.csv", index=False)
    assert pd.read_csv(tmp_path / "none.csv").columns.tolist() == claims.TABLE


def test_metrics_of_the_users_own_are_drawn_for_every_policy():
    lams = [0.0, 0.5, 1.0, 2.0]
    rows = [{"kind": "reference", "seed": "mean", "objective": "dpo", "value": 1.0}]
    rows += [
        {"kind": "retrained", "seed": "mean", "objective": "dpo", "beta": beta, "value": 2 / beta}
        for beta in (0.5, 1.0)
    ]
    rows += [
        {
            "kind": "dera",
            "seed": "mean",
            "objective": "dpo",
            "anchor": 0.5,
            "lam": lam,
            "beta": np.nan,
            "value": 3 * lam,
        }
        for lam in lams
    ]
    policies = pd.DataFrame(rows).assign(default_beta=0.5)
    for suffix, shift in (("", 0), ("_low", -0.1), ("_high", 0.1)):
        policies[f"metric:words_used{suffix}"] = policies["value"] + shift
    figure = metrics.draw({"policies": policies})
    (axes,) = figure.axes
    assert axes.get_ylabel() == "words used"
    drawn = {line.get_label(): line.lines[0] for line in axes.containers}
    assert drawn["DeRa"].get_ydata().tolist() == [3 * lam for lam in lams]
    assert sorted(zip(*drawn["retrained"].get_data(), strict=True)) == [(0.5, 2.0), (1.0, 4.0)]
    assert drawn["reference"].get_data() == ([0.0], [1.0])
    plt.close(figure)
