"""Reward hacking, where the optimum of the proxy is known."""

import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, hacking
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS
from tests.eval.synthetic import evidence


def test_hacking_is_reproduced_where_the_optimum_of_the_proxy_is_known_to_have_lower_gold():
    world, betas = synthetic.HACKED, ["0.25", "0.5", "1", "4"]
    (claim,) = hacking.decide(evidence(betas, "0.5", ["1", "4"], worlds=[world]))
    truth = {beta: world.mean(world.optimum(float(beta)), "gold") for beta in betas}
    assert truth["0.25"] < truth["4"] < truth["0.5"]
    assert claim.verdict == REPRODUCED
    fall = claim.evidence["gold, weakest minus best"]
    assert fall["value"] == pytest.approx(truth["0.25"] - max(truth.values()), abs=0.05)
    rows = [row for row in claim.evidence["by policy"] if row["policy"] == "retrained"]
    assert [row["beta"] for row in rows] == [4, 1, 0.5, 0.25]
    for row in rows:  # 200 prompts of 32 completions: five standard errors are below 0.06
        assert row["gold"] == pytest.approx(truth[f"{row['beta']:g}"], abs=0.06)


def test_hacking_is_not_found_where_the_reward_model_is_right():
    (claim,) = hacking.decide(
        evidence(["0.25", "0.5", "1", "4"], "0.5", ["1", "4"], worlds=[synthetic.HONEST])
    )
    assert claim.verdict == FAILED
    assert claim.evidence["strongest regularisation: gold below the best"]


def test_the_claim_of_hacking_holds_partly_where_dera_is_not_hacked():
    (claim,) = hacking.decide(
        evidence(
            ["0.25", "0.5", "1", "4"],
            "0.5",
            ["1", "4"],
            worlds=[synthetic.HACKED],
            sampler=lambda w, a, lam: w.optimum(0.5),
        )
    )
    assert claim.verdict == PARTLY
    assert not claim.evidence["DeRa, largest lam: gold below DeRa's best"]


def test_nothing_is_said_of_hacking_from_two_strengths_or_where_gold_is_maximised():
    assert hacking.decide(evidence(["0.5", "4"], "0.5", worlds=[synthetic.HACKED])) == []
    assert hacking.decide(evidence(BETAS, "0.25")) == []
