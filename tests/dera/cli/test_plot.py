"""`--plot` draws the numbers of the table, and is refused before any work is done for it."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from dera.cli.sweep_table import estimates, rows_by_lam
from tests.dera.cli.rows import read_rows

PROMPTS = ["w3 w4 w5", "w8", "w9 w2"]
DECODING = ["--max-new-tokens", 4, "--quiet"]
JUDGE = "def count(prompts, completions):\n    return [len(text) for text in completions]\n"


@pytest.fixture
def saved(monkeypatch) -> list[Figure]:
    """The figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.fixture
def metric(tmp_path) -> str:
    (tmp_path / "judge.py").write_text(JUDGE)
    return f"{tmp_path / 'judge.py'}:count"


def test_a_sweep_draws_its_table(llamas, dera, saved, metric, tmp_path):
    output, figure = tmp_path / "sweep.jsonl", tmp_path / "sweep.png"
    words = ["sweep", *llamas, *PROMPTS, "--lams", "2,0,0.5", "--metric", metric, *DECODING]
    assert dera(*words, "--output", output, "--plot", figure)[0] == 0
    assert figure.stat().st_size > 0
    by_lam = rows_by_lam(read_rows(output))
    columns = estimates(by_lam[0])
    assert len(saved[0].axes) == len(columns) == 4
    for axis, name in zip(saved[0].axes, columns, strict=True):
        assert axis.get_ylabel() == name
        lams, means = axis.lines[0].get_data()
        assert list(lams) == [0, 0.5, 2]
        truth = [estimates(by_lam[lam])[name].value for lam in lams]
        np.testing.assert_array_equal(means, truth)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_tuning_draws_its_curves_and_its_limit(llamas, dera, saved, metric, tmp_path, ending):
    output, figure = tmp_path / "tuning.json", tmp_path / f"tuning.{ending}"
    words = ["tune", *llamas, *PROMPTS, "--metric", metric, "--max-kl", 0.5, *DECODING]
    assert dera(*words, "--output", output, "--plot", figure)[0] == 0
    result = json.loads(output.read_text())
    of_metric, of_kl = saved[0].axes
    for axis, key in ((of_metric, "metric"), (of_kl, "kl")):
        lams, means = axis.lines[0].get_data()
        assert list(lams) == [point["lam"] for point in result["curve"]]
        truth = [point[key]["mean"] for point in result["curve"]]
        np.testing.assert_array_equal(means, np.array(truth, float))
    assert f"lam = {result['lam']:g} is chosen" in of_metric.get_title()
    assert any(list(line.get_ydata()) == [0.5, 0.5] for line in of_kl.lines)

    # A result that is complete already is drawn too.
    figure.unlink()
    assert dera(*words, "--output", output, "--plot", figure)[0] == 0
    assert figure.exists()


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("figure.gif", "must end in .png, .pdf, .svg"),
        ("figure", "must end in .png"),
        ("missing/figure.png", "there is no folder"),
        ("folder.png", "is a folder"),
        ("same.svg", "is also the --output"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_first(
    llamas, dera, no_model, tmp_path, figure, message
):
    (tmp_path / "folder.png").mkdir()
    words = ["sweep", *llamas, *PROMPTS, "--lams", "0,1", "--output", tmp_path / "same.svg"]
    status, _, err = dera(*words, "--plot", tmp_path / figure)
    assert status == 2
    assert message in err


def test_without_matplotlib_it_is_said_first(llamas, dera, no_model, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    words = ["sweep", *llamas, *PROMPTS, "--lams", "0,1", "--output", tmp_path / "out.jsonl"]
    status, _, err = dera(*words, "--plot", tmp_path / "figure.png")
    assert status == 2
    assert "draws with matplotlib: install it" in err
