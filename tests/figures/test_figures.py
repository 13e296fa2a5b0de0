"""Every figure draws what its tables say, with intervals, legends and text that stays text."""

from __future__ import annotations

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from eval.policies import from_completions
from eval.summarize import length_distributions, row
from figures import frontier, lam_curve, reward_kl_by_beta, style, training_curves
from figures import length_distributions as lengths
from tests.eval import synthetic

BETAS = ["0.25", "1", "4"]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    completions = synthetic.completions(BETAS, ["0.25", "1"], ["0", "2"], prompts=24, samples=4)
    policies = from_completions(completions, map(Fraction, BETAS))
    steps = np.arange(1, 21)
    history = [
        pd.DataFrame({"stage": stage, "objective": objective, "beta": beta, "seed": seed, "step": steps, "name": name, "value": 1 / steps})
        for stage, objective, beta, seed, name in [
            ("sft", None, None, 0, "loss"), ("sft", None, None, 0, "eval_loss"),
            *[("align", "rloo", float(b), s, n) for b in BETAS for s in (0, 1) for n in ("reward", "kl", "loss")],
            *[("align", "dpo", 1.0, s, n) for s in (0, 1) for n in ("rewards/margins", "loss")],
        ]
    ]  # fmt: skip
    return {
        "policies": pd.DataFrame([row(policy, 100, 0) for policy in policies]),
        "lengths": length_distributions(completions),
        "training": pd.concat(history),
        "curves": curves(),
    }


def curves() -> pd.DataFrame:
    """Of two objectives; the far end is not supported."""
    lam = np.linspace(0, 2, 9)
    one = pd.DataFrame({"lam": lam, "supported": lam < 1.9, "sampled": np.isin(lam, (0, 1)), "completions": 1000})
    for name, values in (("reward", -1 / (1 + lam)), ("kl", lam**2)):
        one = one.assign(**{name: values, f"{name}_low": values - 0.05, f"{name}_high": values + 0.05})
    labels = {"adapter_beta": 0.25, "seed": 0}
    return pd.concat([one.assign(objective=objective, **labels) for objective in ("rloo", "dpo")])


@pytest.fixture(params=[reward_kl_by_beta, frontier, lengths, training_curves, lam_curve], ids=lambda module: module.__name__)
def figure(request, tables):
    figure = request.param.draw(tables)
    yield figure
    plt.close(figure)


def test_no_panel_is_empty_or_unlabelled(figure):
    for axes in figure.axes:
        if axes.get_visible():
            assert axes.lines or axes.patches or axes.containers
            assert any(other.get_xlabel() for other in figure.axes if other.get_position().x0 == axes.get_position().x0)
    assert any(axes.get_ylabel() for axes in figure.axes)
    assert figure.legends


def test_text_does_not_overlap_the_axes_or_leave_the_page(figure):
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    for legend in figure.legends:
        box = legend.get_window_extent(renderer)
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert not any(box.overlaps(axes.get_window_extent(renderer)) for axes in figure.axes if axes.get_visible())


def test_pdf_text_is_embedded_as_text(figure, tmp_path):
    figure.savefig(tmp_path / "figure.pdf")
    assert b"/Type3" not in (tmp_path / "figure.pdf").read_bytes()


@pytest.mark.parametrize("module", [reward_kl_by_beta, frontier])
def test_every_policy_is_drawn_with_the_values_and_intervals_of_its_table(module, tables):
    figure = module.draw(tables)
    axes = figure.axes[0]
    drawn = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    assert len({container.lines[0].get_color() for container in drawn}) >= 4
    optimum = tables["policies"].query("kind == 'optimum'")
    color = style.POLICIES["optimum"]["color"]
    (curve,) = [container for container in drawn if container.lines[0].get_color() == color]
    assert sorted(curve.lines[0].get_ydata()) == sorted(optimum["reward"])
    segments = np.concatenate([np.ravel([s[:, 1] for s in bars.get_segments()]) for bars in curve.lines[2]])
    for end in (*optimum["reward_low"], *optimum["reward_high"]):
        assert np.isclose(segments, end).any()
    plt.close(figure)


def test_bars_of_a_panel_are_the_shares_of_its_policies(tables):
    figure = lengths.draw(tables)
    for axes in figure.axes:
        heights = [bar.get_height() for container in axes.containers for bar in container]
        assert sum(heights) == pytest.approx(2)  # retrained and DeRa, one each
    plt.close(figure)
