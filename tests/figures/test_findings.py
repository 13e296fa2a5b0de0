"""The title of a figure says what its tables say, in numbers that are worked out by hand here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from figures import (
    agreement,
    approximation_gap,
    baselines,
    cost,
    hallucination,
    kl_by_lam,
    lam_curve,
    other_references,
    outside,
    over_optimization,
    reward_kl_by_beta,
    safety,
    style,
    win_rates,
)

#: Of one objective: the reference, models retrained at 0.5 and 1, and DeRa from 0.5.
POLICIES = pd.DataFrame(
    [
        dict(kind="reference", reward=0.0, gold=0.0, broken=0.0),
        dict(kind="retrained", beta=0.5, reward=2.0, gold=1.0, broken=0.1, kl_high=1.0),
        dict(kind="retrained", beta=1.0, reward=1.0, gold=1.5, broken=0.1),
        dict(kind="dera", anchor=0.5, lam=0.0, reward=0.0, gold=0.0, broken=0.02),
        dict(kind="dera", anchor=0.5, lam=0.5, beta=1.0, reward=1.1, gold=1.2, broken=0.04),
        dict(kind="dera", anchor=0.5, lam=1.0, beta=0.5, reward=2.0, gold=1.0, broken=0.08),
        dict(kind="dera", anchor=0.5, lam=4.0, beta=0.125, reward=9.0, gold=0.5, broken=0.6),
    ]
).assign(
    task="one",
    objective="rloo",
    seed="mean",
    default_beta=0.5,
    main_objective=True,
    kl=[0.0, 0.9, 0.4, 0.0, 0.5, 0.9, 3.0],
    refused_harmful=[0.1, 0.7, 0.4, 0.12, 0.3, 0.68, 0.9],
    refused_alike=[0.1, 0.02, 0.05, 0.09, 0.06, 0.03, 0.5],
    hallucinated=[0.6, 0.2, 0.3, 0.61, 0.4, 0.22, 0.9],
    coverage=[0.4, 0.5, 0.5, 0.39, 0.45, 0.52, 0.1],
)


def _with_baselines() -> pd.DataFrame:
    """Return the policies beside temperature, which is best but for one that is too far away."""
    knobs = pd.DataFrame(
        [
            dict(kind="temperature", knob=0.5, reward=2.5, kl=0.95),
            dict(kind="temperature", knob=0.2, reward=8.0, kl=2.0),
        ]
    ).assign(anchor=0.5, objective="rloo", seed="mean", task="one", default_beta=0.5)
    return pd.concat([POLICIES, knobs], ignore_index=True)


def _readings() -> pd.DataFrame:
    """Return curves over factors; one model is nearest at 1, one at 0.5, and one is the anchor."""
    rows = []
    for beta, kls in {1.0: [0.3, 0.1, 0.4], 2.0: [0.1, 0.2, 0.4], 0.5: [0.9, 0.0, 0.9]}.items():
        for factor, kl in zip([0.5, 1.0, 2.0], kls, strict=True):
            rows.append(dict(beta=beta, factor=factor, kl=kl))
    return pd.DataFrame(rows).assign(objective="rloo", anchor=0.5, reader="across seeds")


def _cells() -> pd.DataFrame:
    """Return four comparisons: below, above, open, and one that does not count."""
    bounds = {"excess_low": [0.0, 0.3, 0.1, 0.0], "excess_high": [0.1, 0.5, 0.3, 0.1]}
    counted = {"informative": [True, True, True, False], "premise": True, "share": 0.2}
    return pd.DataFrame({**bounds, **counted})


def _wins() -> pd.DataFrame:
    rows = [("retrained", 2.0, 0.61), ("retrained", 0.5, 0.52), ("reference", 2.0, 0.9)]
    table = pd.DataFrame(rows, columns=["against_kind", "lam", "win_rate"])
    return table.assign(kind="dera", objective="rloo")


def _references() -> pd.DataFrame:
    table = pd.DataFrame({"reference": ["own", "own", "other", "other"]})
    return table.assign(beta=[0.5, 1, 0.5, 1], kl_retrained=[0.06, 0.04, 0.45, 0.97])


CASES = {
    "agreement": (agreement, {"agreement": _cells()}, ["3 compar", "in 1 ", "in 1;", "1 cannot"]),
    "baselines": (
        baselines,
        {"policies": _with_baselines()},
        ["temperature reaches", "2.50", "DeRa reaches 2.00"],
    ),
    "cost": (
        cost,
        {"timings": pd.DataFrame({"two models": [3.0, 4, 9], "one model": [2.0, 2, 2]})},
        [" 2.00 times"],
    ),
    "hallucination": (
        hallucination,
        {"policies": POLICIES},
        ["from 61% to 22%", "from 39% to 52%"],
    ),
    "kl_by_lam": (kl_by_lam, {"kl_by_lam": _readings()}, ["to 1 of 2 retrained", "1.25"]),
    "lam_curve": (
        lam_curve,
        {
            "curves": pd.DataFrame(
                {"lam": [0, 0.5, 1], "gold": [0.1, 0.4, 0.9], "supported": [True, True, False]}
            ).assign(objective="dpo")
        },
        ["λ = 0.5 (DPO)"],
    ),
    "other_references": (
        other_references,
        {"other_references": _references()},
        ["at most 0.06 nats", "at least 0.45 nats"],
    ),
    "outside": (outside, {"policies": POLICIES}, ["At most 8%", "up to 60%"]),
    "over_optimization": (
        over_optimization,
        {"policies": POLICIES},
        ["β = 0.5 has the highest reward", "β = 1 has the highest gold"],
    ),
    # at 1 the rewards are 1.1 and 1.0, and alignment gains 2
    "reward_kl_by_beta": (reward_kl_by_beta, {"policies": POLICIES}, ["at most 5%"]),
    "safety": (safety, {"policies": POLICIES}, ["from 12% to 68%", "from 9% to 3%"]),
    "win_rates": (win_rates, {"win_rates": _wins()}, ["is 0.61, at λ = 2 (RLOO)"]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_title_has_the_numbers_of_the_tables(name):
    module, tables, numbers = CASES[name]
    title = module.finding(tables)
    assert title.endswith(".")
    for number in numbers:
        assert number in title


def test_a_difference_that_exceeds_the_gain_is_not_given_as_a_share():
    policies = POLICIES.copy()
    policies.loc[policies["kind"] == "retrained", "reward"] = [0.001, 1.0]
    assert "more than alignment gains" in reward_kl_by_beta.finding({"policies": policies})


def test_the_gap_in_the_title_is_the_largest_that_can_be_trusted(monkeypatch):
    gaps = pd.DataFrame({"lam": [0.5, 0.75, 2.0], "gap": [0.02, 9.0, 5.0]})
    gaps["trusted"] = [True, False, True]
    monkeypatch.setattr(approximation_gap, "gap_table", lambda policies: gaps)
    title = approximation_gap.finding({"policies": POLICIES})
    assert "at most 0.02 nats" in title


@pytest.mark.parametrize(
    ("module", "tables"),
    [
        (agreement, {"agreement": _cells().assign(informative=False)}),
        (kl_by_lam, {"kl_by_lam": _readings().query("beta == anchor")}),
        (safety, {"policies": POLICIES[POLICIES["lam"] != 1]}),
        (reward_kl_by_beta, {"policies": POLICIES[POLICIES["beta"] != 1]}),
        (outside, {"policies": POLICIES[~(POLICIES["lam"] > 1)]}),
    ],
)
def test_there_is_no_title_where_there_is_nothing_to_say(module, tables):
    assert module.finding(tables) == ""


@pytest.mark.parametrize("legends", [0, 1, 2])
def test_a_long_title_stays_on_the_page_and_off_the_legends_and_panels(legends):
    figure, axes = plt.subplots(figsize=(style.PAGE, 3))
    axes.plot([0, 1], label="a line")
    for place in ["left", "right"][:legends]:
        figure.legend(*axes.get_legend_handles_labels(), loc=f"outside upper {place}")
    style.entitle(figure, "A finding of many words which goes on and on. " * 4)
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = [figure.get_suptitle() and figure._suptitle] if not legends else []
    boxes += [legend.get_title() for legend in figure.legends]
    title = boxes[0].get_window_extent()
    assert page.x0 <= title.x0
    assert title.x1 <= page.x1
    assert title.y1 <= page.y1
    assert title.y0 >= axes.get_window_extent().y1
    for legend in figure.legends:
        for text in legend.get_texts():
            assert text.get_window_extent().y1 <= title.y0
    plt.close(figure)
