"""DeRa against its baselines at equal KL, and for the same price."""

import numpy as np
import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, baselines
from tests.eval import synthetic
from tests.eval.claims.wrong import stuck, verdicts
from tests.eval.synthetic import World, evidence

PATH = dict(betas=["0.25"], anchor="0.25", lams=["0", "1/4", "1/2", "3/4", "1", "2"], prompts=100)


def wasteful(world: World, anchor: float, knob: float) -> np.ndarray:
    """Away from the reference, and to no reward."""
    weights = world.reference * np.where(world.all_measures()["length"] == 20, 1 + knob, 1)
    return weights / weights.sum()


def against(kind: str, knobs: list[str], baseline: synthetic.Sampler, **more):
    [claim] = baselines.decide(evidence(**{**PATH, **more}, baselines={kind: (knobs, baseline)}))
    return claim


def test_a_baseline_on_the_same_frontier_is_equal_and_so_dera_is_not_better():
    claim = against("weights", ["1/4", "1/2", "3/4"], World.mixture)
    assert claim.verdict == FAILED
    rows = claim.evidence["by knob"]
    assert [(row["knob"], row["passes"]) for row in rows] == [(0.25, 1), (0.5, 1), (0.75, 1)]
    assert [row["DeRa is"] for row in rows] == ["equal"] * 3
    for row in rows:
        exact = synthetic.LENGTH.mixture(0.25, row["knob"])
        assert row["KL"] == pytest.approx(exact @ np.log(exact / synthetic.REFERENCE), abs=0.05)
        assert row["reward"] == pytest.approx(exact @ synthetic.REWARD, abs=0.05)


def test_a_swap_of_dera_and_a_baseline_turns_the_verdict_round():
    better = against("temperature", ["1", "2"], wasteful)
    assert better.verdict == REPRODUCED
    assert [row["DeRa is"] for row in better.evidence["by knob"]] == ["better", "better"]

    swapped = against(
        "temperature",
        ["1/4", "1/2"],
        World.mixture,
        sampler=lambda world, anchor, lam: wasteful(world, anchor, 20 * lam),
    )
    assert swapped.verdict == FAILED
    assert [row["DeRa is"] for row in swapped.evidence["by knob"]] == ["worse", "worse"]


def test_one_knob_at_which_dera_is_worse_refutes_the_claim():
    claim = against(
        "weights",
        ["1/2", "1"],
        World.mixture,
        sampler=lambda w, a, lam: w.mixture(a, lam) if lam < 1 else wasteful(w, a, 99),
    )
    assert claim.verdict == FAILED
    assert claim.evidence["by knob"][1]["DeRa is"] == "worse"
    assert "worse at 1" in claim.headline


def test_a_margin_that_the_noise_exceeds_leaves_the_claim_open():
    few = dict(prompts=32, samples=2, seeds=3, rng=2)
    claim = against("weights", ["1/8"], World.mixture, **few)
    assert claim.verdict == INCONCLUSIVE


def test_two_seeds_are_too_few():
    assert against("temperature", ["1"], wasteful, seeds=2).verdict == UNTESTED
    assert against("temperature", ["1"], wasteful, seeds=3).verdict == REPRODUCED


def test_a_baseline_beyond_deras_reach_is_not_compared():
    both = against("weights", ["1/2", "8"], World.mixture, lams=["0", "1/2", "1"])
    assert both.evidence["by knob"][1]["DeRa is"] == "does not reach this KL"
    assert against("weights", ["8"], World.mixture, lams=["1/2", "1"]).verdict == UNTESTED
    # a DeRa that never leaves the reference reaches nothing
    assert against("weights", ["8"], World.mixture, sampler=stuck).verdict == UNTESTED


#: Few good completions and few better ones: among two there is seldom one of these.
UNEVEN = World(np.array([0.9, 0.05, 0.05]), {"gold": np.array([0.0, 1.0, 5.0])})


def test_the_best_of_two_is_equal_where_there_are_two_rewards_and_loses_where_there_are_three():
    """With two rewards any preference is an optimum at some beta.

    With three rewards the best of two is not the optimum at any beta.
    """
    best, price = baselines.decide(evidence(**PATH, reweighted={"best_of_n": [2, 4]}))
    assert price.verdict != REPRODUCED
    assert [(row["knob"], row["passes"]) for row in best.evidence["by knob"]] == [(2, 2), (4, 4)]
    chosen = dict(
        betas=["4"],
        anchor="4",
        lams=["0", "1/2", "1", "2"],
        worlds=[UNEVEN],
        prompts=200,
        samples=32,
        reweighted={"best_of_n": [2]},
    )
    best, price = baselines.decide(evidence(**chosen))
    assert verdicts([best, price]) == [REPRODUCED, REPRODUCED]


def test_the_price_is_not_compared_without_a_best_of_two_nor_anything_without_baselines():
    claims = baselines.decide(evidence(**PATH, reweighted={"best_of_n": [4]}))
    assert verdicts(claims)[1] == UNTESTED
    assert baselines.decide(evidence(**PATH)) == []
