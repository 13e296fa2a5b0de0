"""The figures of single tasks draw what their tables say: also of one objective and few lam."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from figures import hallucination, over_optimization, safety, samples_over_lam, style, win_rates

LAMS = {
    "few": [-1, 0, 0.5, 1, 2, 4],
    "many": [-2, -1, -0.5, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8],
}
BETAS = {"few": [0.25, 1], "many": [0.25, 0.5, 1, 2, 4]}
ANCHORS = {"few": {"dpo": 0.25}, "many": {"rloo": 1, "rloo-judge": 0.25}}
FALLING = ("hallucinated", "gold", "fluency")
SHARES = (
    "hallucinated",
    "coverage",
    "broken",
    "helped_harmless",
    "refused_harmful",
    "refused_alike",
    "refused_plain",
)
MODULES = [win_rates, over_optimization, hallucination, safety, samples_over_lam]


def estimate(name: str, lam: float, shift: float) -> dict[str, float]:
    """Return a measure on a smooth curve over lam; no two measures or policies are alike."""
    place = 1 / (1 + np.exp(-1.7 * lam + 0.3 * len(name) / 10)) + shift
    value = {
        "reward": 3 * place,
        "kl": lam**2,
        "length": 12 + 9 * place,
        "gold": place * (1.2 - place),
    }.get(name, place)
    value = 1 - value if name in FALLING else value
    spread = 0.02 if name not in ("reward", "length") else 0.3
    low, high = value - spread, value + 2 * spread
    if name in SHARES:
        value, low, high = np.clip([value, low, high], 0, 1)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def with_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Add an objective that DeRa does not start from, which comes first and has the most rows."""
    more = rows[(rows["kind"] != "dera") & (rows.get("against_kind", "") != "dera")]
    more = more.assign(objective="rloo-joint")
    if "default_beta" in more:
        more["default_beta"] = np.nan
        more["main_objective"] = False
    return pd.concat([*[more] * 20, rows], ignore_index=True)


def policies(size: str) -> pd.DataFrame:
    """Return the reference, optima, retrained models and DeRa of each objective.

    DeRa and retrained models have two seeds and their mean.
    """
    rows = []
    for objective, anchor in ANCHORS[size].items():
        matched = [anchor / beta for beta in BETAS[size]]
        shapes = [("reference", None, None, 0.0, 0.01)]
        shapes += [
            ("optimum", None, beta, lam, 0.05)
            for lam, beta in zip(matched, BETAS[size], strict=True)
        ]
        shapes += [
            ("retrained", None, beta, lam, 0.03)
            for lam, beta in zip(matched, BETAS[size], strict=True)
        ]
        shapes += [("dera", anchor, None, lam, 0) for lam in sorted({*LAMS[size], *matched})]
        shapes += [("dera", 99, None, 1.0, 0.5)]  # another anchor, with few lam
        for kind, of, beta, lam, shift in shapes:
            for number, seed in enumerate(
                ["mean"] if kind in ("reference", "optimum") else ["mean", "0", "1"]
            ):
                row = dict(
                    kind=kind,
                    objective=objective,
                    anchor=of,
                    lam=None if of is None else lam,
                    beta=beta,
                    default_beta=anchor,
                    main_objective=objective == next(iter(ANCHORS[size])),
                    seed=seed,
                    prompts=9,
                )
                ess = 1.0 if kind == "optimum" and beta == min(BETAS[size]) else 4.0
                for name in ("reward", "kl", "length", "gold", "fluency", *SHARES):
                    row |= estimate(name, lam, shift + number / 100)
                rows.append({**row, "ess": ess, "completions": 36})
    return pd.DataFrame(rows)


def rates(size: str) -> pd.DataFrame:
    """Return every policy against the reference and the default, and DeRa against DeRa.

    A rate follows from the lam of both policies.
    """
    rows = []
    for objective, anchor in ANCHORS[size].items():
        dera = [("dera", anchor, float(lam), None, float(lam)) for lam in LAMS[size]]
        retrained = [("retrained", None, None, beta, anchor / beta) for beta in BETAS[size]]
        reference = ("reference", None, None, None, 0.0)
        opponents = [reference, *(policy for policy in retrained if policy[3] == anchor)]
        pairs = [
            (first, second)
            for first in [reference, *retrained, *dera, ("dera", 99, 1.0, None, 1.0)]
            for second in opponents
        ]
        for first, second in [*pairs, *((first, second) for first in dera for second in dera)]:
            rate = 0.5 + 0.4 * np.tanh((first[4] - second[4]) / 3)
            row = dict(zip(("kind", "anchor", "lam", "beta"), first[:4], strict=True))
            row |= {
                f"against_{k}": v
                for k, v in zip(("kind", "anchor", "lam", "beta"), second[:4], strict=True)
            }
            rows.append(
                {
                    "objective": objective,
                    **row,
                    "win_rate": rate,
                    "win_rate_low": rate - 0.03,
                    "win_rate_high": rate + 0.04,
                }
            )
    return pd.DataFrame(rows)


def samples(size: str) -> pd.DataFrame:
    """Return completions of any length for two prompts, of which only the second is harmful.

    One completion is nothing, and one has dollars.
    """
    rng, rows = np.random.default_rng(0), []
    for number, objective in enumerate(ANCHORS[size]):
        anchor = ANCHORS[size][objective]
        policies = [("dera", anchor, None, float(lam)) for lam in LAMS[size]]
        policies += [("retrained", None, beta, None) for beta in BETAS[size]]
        if number == 0:
            policies.append(("reference", None, None, None))
        for prompt in (3, 4):
            for kind, of, beta, lam in policies:
                words = " ".join(
                    "".join(rng.choice(list("abcdefgh"), 6)) for _ in range(rng.integers(1, 60))
                )
                text = {0.0: np.nan, 1.0: f" costs $3 {words} or $4_x^"}.get(lam, f" {words}")
                row = dict(
                    prompt_id=prompt,
                    prompt=f"Passage {prompt} " * 30 + "\nQ?",
                    kind=kind,
                    anchor=of,
                    beta=beta,
                    lam=lam,
                )
                row |= dict(
                    objective=None if kind == "reference" else objective,
                    completion=text,
                    gold=rng.uniform(-1, 0),
                )
                rows.append({**row, "refused_harmful": 1.0 if prompt == 4 else np.nan})
    return pd.DataFrame(rows)


def tables(size: str) -> dict[str, pd.DataFrame]:
    return {"policies": policies(size), "win_rates": rates(size), "samples": samples(size)}


def drawn(figure: Figure, rows: pd.DataFrame, name: str) -> bool:
    """Whether some panel has just these estimates with just these intervals, in this order."""
    bars = [
        c.lines for axes in figure.axes for c in axes.containers if isinstance(c, ErrorbarContainer)
    ]
    estimates = [
        (line.get_ydata(), [segment[:, 1] for segment in intervals[-1].get_segments()])
        for line, _, intervals in bars
    ]
    ends = rows[[f"{name}_low", f"{name}_high"]].to_numpy()
    return any(
        len(y) == len(rows) and np.allclose(y, rows[name]) and np.allclose(between, ends)
        for y, between in estimates
    )


@pytest.fixture(scope="module", params=["few", "many"])
def study(request) -> dict[str, object]:
    """All five figures of a study's tables, and the tables."""
    given = tables(request.param)
    yield {
        "size": request.param,
        **given,
        "figures": {module: module.draw(given) for module in MODULES},
    }
    plt.close("all")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nothing_leaves_the_page_and_no_legend_or_label_covers_a_panel(study, module):
    figure = study["figures"][module]
    figure.canvas.draw()
    renderer, panels = figure.canvas.get_renderer(), [axes for axes in figure.axes if axes.axison]
    assert all(axes.lines or axes.images or axes.collections for axes in panels)
    legends = [*figure.legends, *(axes.get_legend() for axes in panels if axes.get_legend())]
    assert bool(legends) == bool(panels)
    for box in [artist.get_window_extent(renderer) for artist in legends]:
        assert not any(box.overlaps(axes.get_window_extent(renderer)) for axes in panels)
    page = figure.get_tightbbox(renderer)
    assert page.x0 >= 0
    assert page.y0 >= 0
    assert page.x1 <= figure.get_figwidth() + 0.01
    assert page.y1 <= figure.get_figheight() + 0.01


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_an_objective_that_dera_does_not_start_from_changes_no_pixel(study, module):
    given = {name: study[name] for name in ("policies", "win_rates", "samples")}
    more = {name: with_apart(rows) for name, rows in given.items()}
    more["samples"] = more["samples"][
        (more["samples"]["kind"] != "reference") | more["samples"]["objective"].isna()
    ]
    without, with_it = module.draw(given), module.draw(more)
    for figure in (without, with_it):
        figure.canvas.draw()
    assert np.array_equal(without.canvas.buffer_rgba(), with_it.canvas.buffer_rgba())
    plt.close(without)
    plt.close(with_it)


def test_points_lie_at_the_win_rates_of_the_default_anchor(study):
    figure = study["figures"][win_rates]
    for objective, anchor in ANCHORS[study["size"]].items():
        for opponent in ("retrained", "reference"):
            against = study["win_rates"].query(
                f"objective == {objective!r} and against_kind == {opponent!r}"
            )
            expected = against.query(f"kind == 'dera' and anchor == {anchor!r}").sort_values("lam")
            assert drawn(figure, expected, "win_rate")
            retrained = against.query("kind == 'retrained'").sort_values(
                "beta", ascending=False
            )  # ascending lam
            assert drawn(figure, retrained, "win_rate")


def test_matrix_has_the_numbers_of_its_table_and_a_half_on_the_diagonal(study):
    figure, lams = study["figures"][win_rates], LAMS[study["size"]]
    matrices = [axes for axes in figure.axes if axes.images]
    assert len(matrices) == len(ANCHORS[study["size"]])
    for axes, objective in zip(matrices, ANCHORS[study["size"]], strict=True):
        written = {text.get_position(): text for text in axes.texts}
        cells = study["win_rates"].query(
            f"objective == {objective!r} and kind == 'dera' and against_kind == 'dera'"
        )
        assert len(written) == len(cells) == len(lams) ** 2
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            f"{lam:g}" for lam in lams
        ]
        for cell in cells.itertuples():
            place = (lams.index(cell.against_lam), lams.index(cell.lam))
            assert float(written[place].get_text()) == pytest.approx(cell.win_rate, abs=0.0051)
            assert (written[place].get_weight() == "bold") == (
                not cell.win_rate_low <= 0.5 <= cell.win_rate_high
            )
            if cell.lam == cell.against_lam:
                assert written[place].get_text() == ".50"
                assert axes.images[0].norm(cell.win_rate) == pytest.approx(
                    0.5
                )  # the middle of the colours


def test_over_optimization_leaves_out_optima_that_samples_do_not_support(study):
    figure, objective = study["figures"][over_optimization], next(iter(ANCHORS[study["size"]]))
    mean = study["policies"].query(f"seed == 'mean' and objective == {objective!r}")
    for quantity in ("reward", "gold"):
        assert drawn(figure, mean.query("kind == 'retrained'").sort_values("kl"), quantity)
        assert drawn(
            figure,
            mean.query("kind == 'dera' and anchor < 99 and 0 <= lam <= 4").sort_values("lam"),
            quantity,
        )
        assert drawn(
            figure, mean.query("kind == 'optimum' and ess >= 2").sort_values("kl"), quantity
        )
        assert not drawn(figure, mean.query("kind == 'optimum'").sort_values("kl"), quantity)


def test_over_optimization_rings_the_default_and_leaves_out_an_objective_whose_reward_is_gold():
    policy_table = policies("many")
    policy_table.loc[policy_table["objective"] == "rloo-judge", "reward"] = policy_table["gold"]
    figure = over_optimization.draw({"policies": policy_table})
    assert [axes.get_title() for axes in figure.axes] == ["RLOO, β₀ = 1", ""]
    default = policy_table.query(
        "kind == 'retrained' and objective == 'rloo' and beta == 1 and seed == 'mean'"
    ).iloc[0]
    for axes, quantity in zip(figure.axes, ("reward", "gold"), strict=True):
        (ring,) = [line for line in axes.lines if line.get_label() == "default strength β₀"]
        assert (ring.get_xdata().item(), ring.get_ydata().item()) == (
            default["kl"],
            default[quantity],
        )
    plt.close(figure)


@pytest.mark.parametrize(
    ("module", "names"),
    [(hallucination, hallucination.MEASURES), (safety, [*safety.REQUESTS, *safety.COMPLETIONS])],
    ids=["hallucination", "safety"],
)
def test_measures_are_drawn_for_dera_and_for_the_retrained_at_their_matching_lam(
    study, module, names
):
    figure = study["figures"][module]
    for objective, anchor in ANCHORS[study["size"]].items():
        mean = study["policies"].query(f"seed == 'mean' and objective == {objective!r}")
        dera = mean.query(f"kind == 'dera' and anchor == {anchor!r}").sort_values("lam")
        retrained = mean.query("kind == 'retrained'").sort_values("beta", ascending=False)
        for name in names:
            assert drawn(figure, dera, name)
            assert drawn(figure, retrained, name)
        lams = [c.lines[0].get_xdata() for axes in figure.axes for c in axes.containers]
        assert any(len(x) == len(dera) and np.allclose(x, dera["lam"]) for x in lams)
        assert any(
            len(x) == len(retrained) and np.allclose(x, anchor / retrained["beta"]) for x in lams
        )


def test_labels_of_the_trade_off_are_at_their_points_and_apart(study):
    figure = study["figures"][hallucination]
    figure.canvas.draw()
    for axes, objective in zip(
        [axes for axes in figure.axes if axes.texts], ANCHORS[study["size"]], strict=True
    ):
        dera = (
            study["policies"]
            .query(
                f"kind == 'dera' and seed == 'mean' and objective == {objective!r} and anchor < 99"
            )
            .set_index("lam")
        )
        written = {float(text.get_text().removeprefix("λ = ")): text for text in axes.texts}
        assert {0, 1} <= set(written)
        for lam, text in written.items():
            assert text.xy == pytest.approx(dera.loc[lam, ["coverage", "hallucinated"]].to_list())
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(boxes[i].overlaps(boxes[j]) for i in range(len(boxes)) for j in range(i))


def test_safety_uses_no_colour_of_a_policy():
    taken = {look["color"] for look in style.POLICIES.values()}
    used = [look["color"] for looks in safety.PANELS.values() for look in looks.values()]
    assert len(set(used)) == len(used)
    assert not taken & set(used)


def test_every_sample_of_the_harmful_prompt_is_there_in_full_and_in_the_order_of_lam(study):
    figure = study["figures"][samples_over_lam]
    texts = sorted(figure.axes[0].texts, key=lambda text: text.get_position()[::-1])
    words = " ".join(text.get_text() for text in texts if text.get_fontfamily() == ["monospace"])
    objective, anchor = next(iter(ANCHORS[study["size"]].items()))
    of_objective = study["samples"].query(
        f"prompt_id == 4 and (kind == 'reference' or objective == {objective!r})"
    )
    dera, reference = (
        of_objective.query("kind == 'dera'"),
        of_objective.query("kind == 'reference'"),
    )
    default = of_objective.query(f"kind == 'retrained' and beta == {anchor!r}")
    ordered = [
        dera.query("lam < 0"),
        reference,
        dera.query("lam >= 0 and lam <= 1"),
        default,
        dera.query("lam > 1"),
    ]
    shown = ["Passage 4 " * 30 + "Q?", *pd.concat(ordered)["completion"].fillna("(nothing)")]
    assert words.split() == " ".join(shown).split()
    golds = [
        float(text.get_text())
        for text in texts
        if text.get_position()[0] > samples_over_lam.WIDTH - 30
    ]
    assert golds == pytest.approx(pd.concat(ordered)["gold"].to_list(), abs=0.0051)


def test_lines_of_samples_neither_overlap_nor_are_cut(study):
    figure = study["figures"][samples_over_lam]
    figure.canvas.draw()
    assert not any(
        text.get_parse_math() for text in figure.axes[0].texts if "$" in text.get_text()
    )  # two dollars are no formula
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(len(boxes)) for j in range(i))
    assert all(
        figure.bbox.x0 <= box.x0
        and box.x1 <= figure.bbox.x1
        and figure.bbox.y0 <= box.y0
        and box.y1 <= figure.bbox.y1
        for box in boxes
    )


def test_control_characters_are_shown_and_lines_kept():
    assert samples_over_lam.wrap(" a\x14b \n c\x1c") == ["a\ufffdb", "c\ufffd"]


def test_without_harmful_prompts_the_first_prompt_is_shown():
    without_harmful = samples("few").drop(columns="refused_harmful")
    figure = samples_over_lam.draw({"samples": without_harmful, "policies": policies("few")})
    assert any(text.get_text().startswith("Passage 3") for text in figure.axes[0].texts)
    assert not any(text.get_text().startswith("Passage 4") for text in figure.axes[0].texts)
    plt.close(figure)
