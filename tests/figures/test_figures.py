"""Every figure draws what its tables say, with intervals, legends and text that stays text."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

import eval.baselines
from eval import several_rewards as eval_several_rewards
from eval.judging import Judging, Objective
from eval.policies import from_completions
from eval.summarize import length_distributions, row
from figures import (
    approximation_gap,
    baselines,
    cost,
    frontier,
    lam_curve,
    outside,
    reward_kl_by_beta,
    selection,
    several_rewards,
    style,
    training_curves,
)
from figures import length_distributions as lengths
from tests.eval import synthetic, two_rewards

BETAS = ["0.25", "1", "4"]
ANCHORS = ["0.25", "1"]
KNOWN = {"optimum": "known", "seeds": (0, 1)}
OBJECTIVES = {
    "rloo": Objective(
        reward="gold", betas=tuple(BETAS), anchors=tuple(ANCHORS), default_beta="0.25", **KNOWN
    ),
    "rloo-judge": Objective(
        reward="learned", betas=("1",), anchors=("1",), default_beta="1", **KNOWN
    ),
}
BASELINES = {
    "weights": (
        ["1/4", "1/2", "3/4", "3/2", "2"],
        lambda world, anchor, knob: 0.9 * world.mixture(anchor, knob) + 0.1 * np.eye(5)[3],
    ),
    "probabilities": (
        ["1/4", "1/2"],
        lambda world, anchor, knob: (1 - knob) * world.reference + knob * world.optimum(anchor),
    ),
    "temperature": (
        ["1/2", "3/2"],
        lambda world, anchor, knob: world.mixture(anchor / 2, 1 / knob),
    ),
    "top-k": (
        ["1/2", "1", "2"],
        lambda world, anchor, knob: 0.8 * world.mixture(anchor, knob) + 0.2 * np.eye(5)[0],
    ),
}
#: Model passes that a token costs; of the best of n it costs n.
PASSES = {
    "reference": 1,
    "retrained": 1,
    "weights": 1,
    "temperature": 1,
    "dera": 2,
    "probabilities": 2,
    "top-k": 2,
}
APART_BETAS = ("1", "8", "16", "32", "64")
APART = {
    "rloo-joint": Objective(
        reward="length", betas=APART_BETAS, anchors=(), default_beta=None, **KNOWN
    )
}  # DeRa does not start from it


def completions() -> pd.DataFrame:
    """Return two objectives with rewards of their own, the second of one strength.

    Completions are broken far outside [0, 1].
    """
    lams = ["-2", "0", "2", "8"]
    table = synthetic.completions(BETAS, ANCHORS, lams, prompts=24, samples=4, baselines=BASELINES)
    # The second objective has the aligned model of the first one at beta = 1, and its DeRa.
    strength = table["anchor"].where(table["anchor"].notna(), table["beta"])
    of_one = table[(table["objective"] == "rloo") & (strength == "1")]
    table = pd.concat([table, of_one.assign(objective="rloo-judge")], ignore_index=True)
    lam = table["lam"].map(lambda label: 0.0 if pd.isna(label) else float(Fraction(label)))
    rng = np.random.default_rng(0)
    gold = np.where(table["length"].between(8, 12), 0.0, -1.0)
    broken = (rng.random(len(table)) < (lam * (lam - 1)).abs() / 60).astype(float)
    noise = 0.1 * lam * (lam - 1) * rng.normal(size=len(table))
    measures = {
        "gold": gold,
        "learned": 3 * gold + 1,
        "broken": broken,
        "fluency": -1 - broken,
        "repetition": broken / 2,
    }
    return table.assign(**measures, log_weight=table["log_weight"] + noise)


def with_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Add models that were trained only to be compared with elsewhere."""
    of_rloo = table[(table["kind"] == "retrained") & (table["objective"] == "rloo")]
    retrained = of_rloo[of_rloo["beta"] == "1"]
    more = [retrained.assign(objective="rloo-joint", beta=beta) for beta in APART_BETAS]
    return pd.concat([table, *more], ignore_index=True)


def policy_table(table: pd.DataFrame, objectives: dict[str, Objective]) -> pd.DataFrame:
    """The table policies.csv of these completions, with the best of n for `rloo`."""
    judging: Judging = synthetic.judging_of(objectives, reweighted={"best_of_n": ["2", "4", "8"]})
    judging = dataclasses.replace(judging, main_objective="rloo")
    return pd.DataFrame([row(policy, judging) for policy in from_completions(table, judging)])


def history() -> pd.DataFrame:
    steps = np.arange(1, 21)
    series = [("sft", None, None, 0, "loss"), ("sft", None, None, 0, "eval_loss")]
    series += [
        ("align", "rloo", float(beta), seed, name)
        for beta in BETAS
        for seed in (0, 1)
        for name in ("reward", "kl", "loss")
    ]
    series += [
        ("align", "dpo", 1.0, seed, name) for seed in (0, 1) for name in ("rewards/margins", "loss")
    ]
    series += [("align", "rloo-judge", 1.0, 0, name) for name in ("reward", "kl", "loss")]
    columns = ["stage", "objective", "beta", "seed", "name"]
    return pd.concat(
        [
            pd.DataFrame(
                {**dict(zip(columns, labels, strict=True)), "step": steps, "value": 1 / steps}
            )
            for labels in series
        ]
    )


def curves() -> pd.DataFrame:
    """Return the curves of two objectives, whose far ends are not supported."""
    lam = np.linspace(0, 2, 9)
    one = pd.DataFrame(
        {"lam": lam, "supported": lam < 1.9, "sampled": np.isin(lam, (0, 1)), "completions": 1000}
    )
    for name, values in (("gold", -1 / (1 + lam)), ("kl", lam**2)):
        one = one.assign(
            **{name: values, f"{name}_low": values - 0.05, f"{name}_high": values + 0.05}
        )
    labels = {
        "rloo": {"anchor": 0.25, "seed": 0},
        "rloo-judge": {"anchor": 1.0, "seed": 0},
    }
    return pd.concat(
        [one.assign(objective=objective, **names) for objective, names in labels.items()]
    )


def gap_trial() -> pd.DataFrame:
    rows = [
        {"lam": lam, "samples": n, "enumerated": abs(lam), "estimated": abs(lam)}
        for lam in (-2.0, 0.5, 4.0)
        for n in (4, 32)
    ]
    table = pd.DataFrame(rows)
    return table.assign(
        estimated_low=table["estimated"] * 0.9, estimated_high=table["estimated"] * 1.1
    )


def costs() -> pd.DataFrame:
    """Return seven objectives; DeRa did not decode the last, the one before has one strength."""
    measured = {"training": 98.0, "betas": 3, "retrained": 2.0, "dera": 4.0, "seed": 0}
    tasks = ("length", "summarization", "hallucination", "safety")
    pairs = list(itertools.product(tasks, ("rloo", "rloo-judge")))
    rows = [{"task": task, "objective": name, **measured} for task, name in pairs[:7]]
    rows[-1]["dera"] = None
    rows[-2]["betas"] = 1
    return pd.DataFrame(rows)


def timings() -> pd.DataFrame:
    """Return two interleaved repeats of one model and of two."""
    table = pd.DataFrame({"one model": [1.0, 1.0], "two models": [1.9, 2.1]})
    return table.assign(**{"model bytes": 100.0, "pair bytes": 200.0, "adapter bytes": 7.0})


def several_points() -> pd.DataFrame:
    """Return policies for two rewards that conflict; the sampler is a little off."""

    def timid(world, first, second):
        return two_rewards.mixture(world, 0.9 * first, 0.9 * second)

    completions = two_rewards.completions(
        two_rewards.CONFLICT, sampler=timid, prompts=24, samples=8
    )
    points = eval_several_rewards.points(completions, two_rewards.judging())
    return pd.DataFrame(eval_several_rewards.rows(points))


def of_study(policies: pd.DataFrame) -> pd.DataFrame:
    """Return a table of two tasks, of which the second has one objective."""
    of_tasks = [policies, policies[policies["objective"] == "rloo"]]
    return pd.concat(of_tasks, keys=["hallucination", "length"], names=["task"]).reset_index("task")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    table = completions()
    policies = policy_table(table, OBJECTIVES)
    return {
        "policies": policies,
        "lengths": length_distributions(table),
        "training": history(),
        "curves": curves(),
        "study": of_study(policies),
        "several_rewards": several_points(),
        "gap_trial": gap_trial(),
        "costs": costs(),
        "timings": timings(),
    }


OF_TASK = [
    reward_kl_by_beta,
    frontier,
    lengths,
    training_curves,
    lam_curve,
    baselines,
    several_rewards,
]
OF_STUDY = [outside, approximation_gap, cost]


def drawn(module, tables):
    """Draw the figure of a task, or of the study, whose table of policies names the task."""
    return module.draw({**tables, "policies": tables["study"]} if module in OF_STUDY else tables)


@pytest.fixture(params=OF_TASK + OF_STUDY, ids=lambda module: module.__name__)
def figure(request, tables):
    figure = drawn(request.param, tables)
    yield figure
    plt.close(figure)


def bars_of(axes) -> list[ErrorbarContainer]:
    return [container for container in axes.containers if isinstance(container, ErrorbarContainer)]


def ends_of(bars: ErrorbarContainer) -> np.ndarray:
    """Return all ends of the vertical intervals."""
    return np.concatenate(
        [np.ravel([s[:, 1] for s in lines.get_segments()]) for lines in bars.lines[2]]
    )


def test_no_panel_is_empty_or_unlabelled(figure):
    for axes in figure.axes:
        if axes.get_visible():
            assert axes.lines or axes.patches or axes.containers
            assert any(
                other.get_xlabel()
                for other in figure.axes
                if other.get_position().x0 == axes.get_position().x0
            )
    assert any(axes.get_ylabel() or axes.get_yticklabels() for axes in figure.axes)
    assert figure.legends


def test_text_does_not_overlap_the_axes_or_leave_the_page(figure):
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    boxes = [legend.get_window_extent(renderer) for legend in figure.legends]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert not any(
            box.overlaps(axes.get_window_extent(renderer))
            for axes in figure.axes
            if axes.get_visible()
        )
        assert not any(box.overlaps(other) for other in boxes if other is not box)
    for axes in figure.axes:
        assert all(text.get_window_extent(renderer).x1 <= page.x1 for text in axes.texts)


def test_pdf_text_is_embedded_as_text(figure, tmp_path):
    figure.savefig(tmp_path / "figure.pdf")
    assert b"/Type3" not in (tmp_path / "figure.pdf").read_bytes()


@pytest.mark.parametrize("module", [reward_kl_by_beta, frontier])
def test_every_policy_is_drawn_with_the_values_and_intervals_of_its_table(module, tables):
    figure = module.draw(tables)
    for objective, axes in (
        ("rloo", figure.axes[0]),
        ("rloo-judge", figure.axes[2 if module is reward_kl_by_beta else 1]),
    ):
        assert len({bars.lines[0].get_color() for bars in bars_of(axes)}) >= 4
        optimum = tables["policies"].query(f"kind == 'optimum' and objective == '{objective}'")
        color = style.POLICIES["optimum"]["color"]
        (curve,) = [bars for bars in bars_of(axes) if bars.lines[0].get_color() == color]
        assert sorted(curve.lines[0].get_ydata()) == sorted(optimum["reward"])
        for end in (*optimum["reward_low"], *optimum["reward_high"]):
            assert np.isclose(ends_of(curve), end).any()
    plt.close(figure)


def test_a_shared_axis_of_rewards_fits_what_every_panel_shows(tables):
    of_rloo = tables["policies"].query("objective == 'rloo'")
    reference = of_rloo.loc[of_rloo["kind"] == "reference", "reward"].iloc[0]
    wider = of_rloo.assign(objective="dpo")
    for column in ("reward", "reward_low", "reward_high"):
        wider[column] = reference + 3 * (wider[column] - reference)
    figure = reward_kl_by_beta.draw({"policies": pd.concat([of_rloo, wider])})
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_yscale() == "linear"]
    assert len(shown) == 4  # two objectives with two anchors each
    for axes in shown:
        bottom, top = axes.get_ylim()
        assert (bottom, top) == shown[0].get_ylim()
        ends = np.concatenate([ends_of(bars) for bars in bars_of(axes) if bars.lines[2]])
        assert bottom <= ends.min()
        assert ends.max() <= top
    plt.close(figure)


def test_the_frontier_runs_over_lam_from_the_reference_to_the_largest_readable(tables):
    figure = frontier.draw(tables)
    color = style.POLICIES["dera"]["color"]
    curves = [
        bars.lines[0].get_xdata()
        for bars in bars_of(figure.axes[0])
        if bars.lines[0].get_color() == color
    ]
    for anchor, curve in zip((0.25, 1.0), curves, strict=True):
        rows = tables["policies"].query(
            f"kind == 'dera' and objective == 'rloo' and anchor == {anchor} and seed == 'mean'"
        )
        assert list(curve) == list(
            rows[rows["lam"].between(0, selection.MAX_READABLE_LAM)].sort_values("lam")["kl"]
        )
        assert len(curve) < len(rows)
    plt.close(figure)


def test_baselines_are_drawn_beside_the_dera_of_their_anchor_and_seed(tables):
    figure = baselines.draw(tables)
    curves = {bars.lines[0].get_color(): bars for bars in bars_of(figure.axes[0])}
    of_rloo = tables["policies"].query("objective == 'rloo'")
    for kind in ("dera", *BASELINES, "best-of-n"):
        rows = of_rloo[
            (of_rloo["kind"] == kind)
            & (of_rloo["seed"] == ("mean" if kind == "best-of-n" else "0"))
        ]
        if kind == "dera":
            rows = rows[
                np.isclose(rows["anchor"], 0.25)
                & rows["lam"].between(0, selection.MAX_READABLE_LAM)
            ]
        rows = rows.sort_values("lam" if kind == "dera" else "knob")
        curve = curves[style.POLICIES[kind]["color"]]
        assert len(rows) > 1
        assert list(curve.lines[0].get_xdata()) == list(rows["kl"])
        assert list(curve.lines[0].get_ydata()) == list(rows["reward"])
        assert all(
            np.isclose(ends_of(curve), end).any()
            for end in (*rows["reward_low"], *rows["reward_high"])
        )
    plt.close(figure)


def test_at_matched_compute_the_best_within_the_aligned_models_reach_is_drawn(tables):
    figure = baselines.draw(tables)
    shown = baselines.contents(tables["policies"])
    max_kl = shown["retrained"]["kl_high"].iloc[0]
    for bars in bars_of(figure.axes[1]):
        (kind,) = [
            kind for kind in shown if style.POLICIES[kind]["color"] == bars.lines[0].get_color()
        ]
        rows = (
            shown[kind]
            if kind == "best-of-n"
            else shown[kind][shown[kind]["kl"] <= max_kl].nlargest(1, "reward")
        )
        assert sorted(bars.lines[0].get_ydata()) == sorted(rows["reward"])
        # side by side, and nearer to their own number of passes than to another
        passes = rows["knob"] if kind == "best-of-n" else PASSES[kind]
        assert (np.abs(np.log2((bars.lines[0].get_xdata() / passes).astype(float))) < 0.5).all()
        assert (rows["passes"] == passes).all()
    plt.close(figure)


def test_the_passes_of_a_baseline_are_those_that_its_file_declares():
    declared = {kind: module.PASSES for kind, module in eval.baselines.by_kind().items()}
    assert declared.pop("best-of-n") == "knob"
    assert {kind: PASSES[kind] for kind in declared} == declared


def test_a_baseline_that_the_style_does_not_know_has_a_look_of_its_own(tables):
    policies = tables["policies"]
    new = {"weights": "new-baseline", "temperature": "another"}
    renamed = policies.assign(kind=policies["kind"].replace(new))
    figure = baselines.draw({"policies": renamed})
    known = {policy["color"] for policy in style.POLICIES.values()}
    curves = {bars.get_label(): bars for bars in bars_of(figure.axes[0])}
    looks = {label: curves[label].lines[0].get_color() for label in new.values()}
    assert len(set(looks.values())) == len(looks)
    assert not known & set(looks.values())
    for old, label in new.items():
        rows = policies[(policies["kind"] == old) & (policies["seed"] == "0")].sort_values("knob")
        assert list(curves[label].lines[0].get_ydata()) == list(rows["reward"])
    plt.close(figure)


def test_the_best_of_n_alone_stands_beside_the_mean_of_seeds(tables):
    policies = tables["policies"]
    shown = baselines.contents(policies[~policies["kind"].isin(set(BASELINES))])
    assert set(shown) == {"dera", "best-of-n", "retrained", "reference"}
    assert set(shown["dera"]["seed"]) == {"mean"}


def test_every_policy_has_a_colour_and_a_mark_of_its_own():
    for look in ("color", "marker"):
        assert len({policy[look] for policy in style.POLICIES.values()}) == len(style.POLICIES)


@pytest.mark.parametrize(
    "module", [reward_kl_by_beta, frontier, lengths, lam_curve, outside, approximation_gap]
)
def test_an_objective_that_dera_does_not_start_from_changes_no_pixel(module, tables):
    table = with_apart(completions())
    policies = policy_table(table, APART | OBJECTIVES)
    more = {
        **tables,
        "policies": policies,
        "study": of_study(policies),
        "lengths": length_distributions(table),
    }
    without, with_it = (drawn(module, given) for given in (tables, more))
    for figure in (without, with_it):
        figure.canvas.draw()
    assert np.array_equal(without.canvas.buffer_rgba(), with_it.canvas.buffer_rgba())
    plt.close("all")


def test_training_curves_of_many_objectives_stay_wide_enough_to_read(tables):
    of_rloo = tables["training"].query("objective == 'rloo'")
    training = pd.concat(
        [tables["training"], *(of_rloo.assign(objective=f"rloo-{i}") for i in range(5))]
    )
    figure = training_curves.draw({"training": training})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert (
        len(shown) == 1 + 2 * 7 + 1
    )  # SFT; seven objectives that report a reward, one that does not
    figure.canvas.draw()
    assert min(axes.get_position().width for axes in shown) > 0.1
    plt.close(figure)


def test_the_plane_has_deras_path_in_the_order_of_its_weights_and_all_else_beside_it(tables):
    figure, table = several_rewards.draw(tables), tables["several_rewards"]
    plane, gains = figure.axes
    drawn_bars = {bars.get_label(): bars for bars in bars_of(plane)}
    dera = table.query("kind == 'dera'").sort_values("lam_1")
    between = dera[np.isclose(dera["lam_1"] + dera["lam_2"], 1) & dera["lam_1"].between(0, 1)]
    path = drawn_bars["DeRa, λ sums to 1"]
    assert path.lines[0].get_linestyle() == "-"
    np.testing.assert_array_equal(path.lines[0].get_xydata(), between[["reward_1", "reward_2"]])
    assert all(np.isclose(ends_of(path), end).any() for end in between["reward_2_high"])
    others = drawn_bars["DeRa, other λ"].lines[0]
    assert (others.get_linestyle(), len(others.get_xydata())) == (
        "None",
        len(dera) - len(between) - 1,
    )  # lam = 0 is the reference
    for label, kind in (
        ("trained on the weighted sum", "joint"),
        ("trained on one reward", "single"),
        ("reference", "reference"),
    ):
        rows = table[table["kind"] == kind].sort_values("lam_1")
        np.testing.assert_array_equal(
            drawn_bars[label].lines[0].get_xydata(), rows[["reward_1", "reward_2"]]
        )
    written = {text.get_text() for text in plane.texts}
    assert (
        {"1, 0", "0.5, 0.5", "0, 1", "2, 0"}
        <= written
        <= {f"{a:g}, {b:g}" for a, b in zip(dera["lam_1"], dera["lam_2"], strict=True)}
    )
    drawn_gains = {bars.get_label(): bars.lines[0].get_ydata() for bars in bars_of(gains)}
    assert list(drawn_gains["DeRa, λ sums to 1"]) == list(between["gain"])
    for kind, label in (("joint", "trained on the weighted sum"), ("mixture", "exact mixture")):
        rows = table[
            (table["kind"] == kind)
            & table["lam_1"].between(0, 1)
            & np.isclose(table["lam_1"] + table["lam_2"], 1)
        ]
        assert list(drawn_gains[label]) == list(rows.sort_values("lam_1")["gain"])
    plt.close(figure)


def test_labels_of_the_plane_are_at_their_points_and_apart(tables):
    figure, table = (
        several_rewards.draw(tables),
        tables["several_rewards"].query("kind == 'dera'").set_index(["lam_1", "lam_2"]),
    )
    figure.canvas.draw()
    texts = figure.axes[0].texts
    for text in texts:
        assert text.xy == pytest.approx(
            table.loc[
                tuple(map(float, text.get_text().split(", "))), ["reward_1", "reward_2"]
            ].to_list()
        )
    boxes = [text.get_window_extent() for text in texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(len(boxes)) for j in range(i))
    plt.close(figure)


def test_bars_of_a_panel_are_the_shares_of_its_policies(tables):
    figure = lengths.draw(tables)
    for axes in figure.axes:
        heights = [bar.get_height() for container in axes.containers for bar in container]
        assert sum(heights) == pytest.approx(2)  # retrained and DeRa, one each
    plt.close(figure)


def test_outside_draws_the_whole_grid_of_each_objective_and_shades_what_is_between(tables):
    figure = drawn(outside, tables)
    first, second = figure.axes[:2]  # two tasks, the measure `broken`
    assert [len(bars_of(axes)) for axes in (first, second)] == [2, 1]
    grid = selection.of_default_anchor(tables["policies"], "rloo")
    (bars,) = bars_of(second)
    assert list(bars.lines[0].get_xdata()) == list(grid["lam"])
    assert list(bars.lines[0].get_ydata()) == list(grid["broken"])
    assert {-2.0, 0.0, 1.0, 8.0} <= set(grid["lam"])
    assert all(np.isclose(ends_of(bars), end).any() for end in grid["broken_high"])
    assert {
        (patch.get_x(), patch.get_width()) for axes in figure.axes for patch in axes.patches
    } == {(0, 1)}
    plt.close(figure)


def test_gap_is_trusted_below_half_the_log_of_one_seeds_completions_and_broken_is_deras(tables):
    gaps = approximation_gap.gap_table(tables["study"])
    assert list(gaps["trusted"]) == list(gaps["gap"] <= np.log(4) / 2)
    assert gaps["trusted"].nunique() == 2
    dera = selection.of_default_anchor(tables["policies"], "rloo").set_index("lam")["broken"]
    broken = gaps[(gaps["task"] == "length") & (gaps["objective"] == "rloo")].set_index("lam")[
        "broken"
    ]
    pd.testing.assert_series_equal(broken, dera)


def test_gap_beside_the_broken_share_is_of_lam_outside_only(tables):
    figure = drawn(approximation_gap, tables)
    trial, over_lam, foreseen = figure.axes
    gaps = approximation_gap.gap_table(tables["study"])
    points = [x for bars in bars_of(foreseen) for x in bars.lines[0].get_xdata()]
    assert sorted(points) == sorted(gaps[~gaps["lam"].between(0, 1)]["broken"])
    assert sum(len(bars.lines[0].get_xdata()) for bars in bars_of(over_lam)) == len(gaps)
    assert list(trial.lines[0].get_ydata()) == [2.0, 0.5, 4.0]
    plt.close(figure)


def test_costs_write_what_is_saved_and_leave_out_what_was_not_measured(tables):
    figure = cost.draw(tables)
    reach, decode, memory = figure.axes
    texts = [text.get_text() for text in reach.texts]
    # two other strengths: training and decoding takes 2 * (98 + 2) seconds, DeRa 2 * 4
    assert texts.count("200 s") == 5
    assert texts.count("8.0 s, 25 times less") == 5
    assert decode.lines[-1].get_ydata().tolist() == [1.9, 2.1]
    assert [text.get_text() for text in memory.texts] == ["1.00×", "1.07×", "2.00×"]
    plt.close(figure)


def test_costs_of_single_strengths_have_nothing_else_to_reach(tables, tmp_path):
    figure = cost.draw({**tables, "costs": tables["costs"].assign(betas=1)})
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "figure.png")
    plt.close(figure)


def test_a_whole_aligned_model_has_no_bar_for_an_adapter(tables):
    timings = tables["timings"].assign(**{"adapter bytes": 100.0})
    figure = cost.draw({**tables, "timings": timings})
    assert [text.get_text() for text in figure.axes[-1].texts] == ["1.00×", "2.00×"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["one model, retrained for each strength", "DeRa, two models"]
    plt.close(figure)


def test_objectives_are_named_as_in_print():
    assert [style.objective_name(name) for name in ("dpo", "rloo-judge")] == ["DPO", "RLOO (judge)"]


@pytest.mark.parametrize("default", [0.25, 1.0])
def test_the_default_anchor_is_the_one_that_the_table_names(tables, default):
    policies = tables["policies"]
    named = policies.assign(
        default_beta=policies["default_beta"].where(~is_rloo(policies), default)
    )
    for kind in ("dera", "mixture"):
        rows = selection.of_default_anchor(named, "rloo", kind)
        assert set(rows["anchor"]) == {default}
        assert set(rows["kind"]) == {kind}
    assert selection.of_default_anchor(named, "unknown").empty
    without = policies.assign(default_beta=np.nan)
    assert selection.default_anchor(without, "rloo") is None
    assert selection.of_default_anchor(without, "rloo").empty


def is_rloo(table: pd.DataFrame) -> pd.Series:
    return table["objective"] == "rloo"


def with_the_anchors_of_rloo_the_other_way_round(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is written where the config names the two anchors in the other order."""
    from_anchors = table[is_rloo(table) & table["kind"].isin(["dera", "mixture"])]
    first = from_anchors[np.isclose(from_anchors["anchor"], 0.25)]
    second = from_anchors[np.isclose(from_anchors["anchor"], 1)]
    others = table.drop(from_anchors.index)
    assert len(first)
    assert len(second)
    return pd.concat([others, second, first], ignore_index=True)


@pytest.mark.parametrize("default", [0.25, 1.0])
@pytest.mark.parametrize("module", [lengths, baselines, outside, approximation_gap])
def test_figures_pick_the_same_anchor_in_either_order_of_the_config(module, default, tables):
    policies = tables["policies"]
    policies = policies.assign(
        default_beta=policies["default_beta"].where(~is_rloo(policies), default)
    )
    given = {"policies": policies, "lengths": tables["lengths"], "gap_trial": tables["gap_trial"]}
    turned = {
        **given,
        "policies": with_the_anchors_of_rloo_the_other_way_round(policies),
        "lengths": with_the_anchors_of_rloo_the_other_way_round(given["lengths"]),
    }
    figures = []
    for tables_of_order in (given, turned):
        study = of_study(tables_of_order["policies"])
        figures.append(drawn(module, {**tables_of_order, "study": study}))
    for figure in figures:
        figure.canvas.draw()
    assert np.array_equal(figures[0].canvas.buffer_rgba(), figures[1].canvas.buffer_rgba())
    plt.close("all")
