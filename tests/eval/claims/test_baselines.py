"""DeRa against its baselines at equal KL, and for the same price."""

import numpy as np
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, baselines
from tests.eval import synthetic
from tests.eval.claims.wrong import stuck, verdicts
from tests.eval.synthetic import World, evidence

PATH = dict(betas=["0.25"], anchor="0.25", lams=["0", "1/4", "1/2", "3/4", "1", "2"])


def wasteful(world: World, anchor: float, knob: float) -> np.ndarray:
    """Away from the reference, and to no reward."""
    weights = world.reference * np.where(world.all_measures()["length"] == 20, 1 + knob, 1)
    return weights / weights.sum()


def against(kind: str, knobs: list[str], baseline: synthetic.Sampler, **more):
    [claim] = baselines.decide(evidence(**{**PATH, **more}, baselines={kind: (knobs, baseline)}))
    return claim


def test_a_baseline_on_the_same_frontier_ties():
    """Between two lams the chord lies below the concave frontier, here by less than 0.02."""
    claim = against("weights", ["1/4", "0.6", "3/2"], World.mixture)
    assert claim.verdict == REPRODUCED
    rows = claim.evidence["by knob"]
    assert [(row["knob"], row["passes"]) for row in rows] == [(0.25, 1), (0.6, 1), (1.5, 1)]
    for row in rows:
        exact = synthetic.LENGTH.mixture(0.25, row["knob"])
        assert row["KL"] == pytest.approx(exact @ np.log(exact / synthetic.REFERENCE), abs=0.05)
        assert row["reward"] == pytest.approx(exact @ synthetic.REWARD, abs=0.05)
        assert abs(row["difference"]["value"]) < 0.04
        assert row["difference"]["low"] - 0.01 < 0 < row["difference"]["high"] + 0.03


def test_the_interval_of_a_tie_holds_nothing_about_as_often_as_it_says():
    """At a lam that DeRa decoded there is no chord.

    38 of 40 studies should hold 0, and 31 is five standard errors less.
    """
    held = 0
    for seed in range(40):
        known = evidence(
            **PATH,
            prompts=40,
            samples=4,
            seeds=1,
            baselines={"weights": (["1/2"], World.mixture)},
            rng=seed,
        )
        [claim] = baselines.decide(known)
        difference = claim.evidence["by knob"][0]["difference"]
        held += difference["low"] <= 0 <= difference["high"]
    assert held >= 31


def test_a_baseline_that_wastes_its_distance_is_beaten():
    claim = against("temperature", ["1", "2"], wasteful)
    assert claim.verdict == REPRODUCED
    assert all(
        row["difference"]["low"] > 0 and row["DeRa loses"] is False
        for row in claim.evidence["by knob"]
    )
    assert "DeRa loses at 0 of 2 knobs" in claim.headline


def test_where_dera_wastes_its_distance_the_baseline_wins():
    claim = against(
        "probabilities",
        ["1/4", "1/2"],
        World.mixture,
        sampler=lambda w, a, lam: wasteful(w, a, 20 * lam),
    )
    assert claim.verdict == FAILED
    rows = claim.evidence["by knob"]
    assert all(row["DeRa loses"] and row["passes"] == 2 for row in rows)
    worst = min(rows, key=lambda row: row["difference"]["value"])
    assert f"{worst['difference']['value']:+.3f}" in claim.headline
    assert f"at share of the aligned model = {worst['knob']:g}" in claim.headline


def test_a_baseline_that_wins_at_one_of_two_knobs_leaves_the_claim_partly_reproduced():
    claim = against(
        "weights",
        ["1/2", "1"],
        World.mixture,
        sampler=lambda w, a, lam: w.mixture(a, lam) if lam < 1 else wasteful(w, a, 99),
    )
    assert claim.verdict == PARTLY
    assert [row["DeRa loses"] for row in claim.evidence["by knob"]] == [False, True]


def test_dera_is_compared_with_its_own_seed():
    known = evidence(**PATH, baselines={"weights": (["1/2"], World.mixture)})
    for policy in known.policies:
        if policy.kind == "dera" and policy.seed != "0":
            policy.per_prompt["reward"][:] = -9
    assert verdicts(baselines.decide(known)) == [REPRODUCED]


def test_a_baseline_beyond_deras_reach_is_not_compared():
    both = against("weights", ["1/2", "8"], World.mixture, lams=["0", "1/2", "1"])
    assert [row["DeRa loses"] for row in both.evidence["by knob"]] == [False, None]
    assert against("weights", ["8"], World.mixture, lams=["1/2", "1"]).verdict == UNTESTED
    # a DeRa that never leaves the reference reaches nothing
    assert against("weights", ["8"], World.mixture, sampler=stuck).verdict == UNTESTED


#: Few good completions and few better ones: among two there is seldom one of these.
UNEVEN = World(np.array([0.9, 0.05, 0.05]), {"gold": np.array([0.0, 1.0, 5.0])})


def test_the_best_of_two_ties_where_there_are_two_rewards_and_loses_where_its_taste_is_too_broad():
    """With two rewards any preference is an optimum at some beta.

    With three rewards the best of two is not the optimum at any beta.
    """
    best, price = baselines.decide(evidence(**PATH, reweighted={"best_of_n": [2, 4]}))
    assert verdicts([best, price]) == [REPRODUCED, FAILED]
    assert [(row["knob"], row["passes"]) for row in best.evidence["by knob"]] == [(2, 2), (4, 4)]
    assert abs(price.evidence["difference"]["value"]) < 0.04
    chosen = dict(
        betas=["4"],
        anchor="4",
        lams=["0", "1/2", "1", "2"],
        worlds=[UNEVEN],
        prompts=400,
        samples=32,
        reweighted={"best_of_n": [2]},
    )
    best, price = baselines.decide(evidence(**chosen))
    assert verdicts([best, price]) == [REPRODUCED, REPRODUCED]
    assert price.evidence["KL"] == pytest.approx(0.0367, abs=0.005)
    assert price.evidence["reward"] == pytest.approx(0.58, abs=0.03)


def test_the_price_is_not_compared_without_a_best_of_two_nor_anything_without_baselines():
    assert (
        verdicts(baselines.decide(evidence(**PATH, reweighted={"best_of_n": [4]})))[1] == UNTESTED
    )
    assert baselines.decide(evidence(**PATH)) == []
