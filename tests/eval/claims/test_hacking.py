"""Reward hacking, where the optimum of the proxy is known."""

import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, hacking
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS
from tests.eval.synthetic import evidence

STRENGTHS = ["0.25", "0.5", "1", "4"]
LAMS = ["1/2", "1", "4"]


def test_hacking_is_reproduced_where_the_optimum_of_the_proxy_is_known_to_have_lower_gold():
    world = synthetic.HACKED
    (claim,) = hacking.decide(evidence(STRENGTHS, "0.5", LAMS, worlds=[world], prompts=200))
    truth = {beta: world.mean(world.optimum(float(beta)), "gold") for beta in STRENGTHS}
    assert truth["0.25"] < truth["4"] < truth["0.5"]
    assert claim.verdict == REPRODUCED
    rows = [row for row in claim.evidence["by policy"] if row["policy"] == "retrained"]
    assert [row["beta"] for row in rows] == [4, 1, 0.5, 0.25]
    for row in rows:  # 200 prompts of 80 completions: five standard errors are below 0.06
        assert row["gold"] == pytest.approx(truth[f"{row['beta']:g}"], abs=0.06)


def test_hacking_is_refuted_where_the_reward_model_is_right():
    (claim,) = hacking.decide(evidence(STRENGTHS, "0.5", LAMS, worlds=[synthetic.HONEST]))
    assert claim.verdict == FAILED


def test_hacking_is_not_reproduced_where_dera_is_not_hacked():
    (claim,) = hacking.decide(
        evidence(
            STRENGTHS,
            "0.5",
            LAMS,
            worlds=[synthetic.HACKED],
            sampler=lambda world, anchor, lam: world.optimum(0.5),
        )
    )
    assert claim.verdict in (FAILED, INCONCLUSIVE)


def test_hacking_is_refuted_where_reward_and_gold_are_reversed_over_beta():
    (claim,) = hacking.decide(
        evidence(
            STRENGTHS,
            "0.5",
            LAMS,
            worlds=[synthetic.HACKED],
            retrained=lambda world, beta: world.optimum(1 / beta),
        )
    )
    assert claim.verdict == FAILED


def test_nothing_is_said_of_hacking_from_two_strengths_or_where_gold_is_maximised():
    assert hacking.decide(evidence(["0.5", "4"], "0.5", worlds=[synthetic.HACKED])) == []
    assert hacking.decide(evidence(BETAS, "0.25")) == []
