"""How verdicts follow from checks, and what every claim must say."""

import dataclasses
import json

import pytest

from eval.claims import (
    FAILED,
    PAPER,
    PARTLY,
    REPRODUCED,
    UNTESTED,
    Claim,
    Evidence,
    agreement,
    baselines,
    breakdown,
    convergence,
    hacking,
    hallucination,
    safety,
    strength,
    transition,
    verdict,
)
from eval.claims.checks import (
    Check,
    above,
    at_least,
    below,
    falls_at_most,
    rises_at_least,
    rises_at_most,
    within,
)
from eval.policies import from_completions
from tests.eval import synthetic
from tests.eval.claims.wrong import OUTSIDE, stuck
from tests.eval.synthetic import World, evidence

MODULES = (
    convergence,
    agreement,
    transition,
    strength,
    hacking,
    hallucination,
    safety,
    breakdown,
    baselines,
)


@pytest.mark.parametrize(
    ("met", "conditions", "expected"),
    [(3, 3, REPRODUCED), (2, 4, PARTLY), (1, 3, FAILED), (0, 0, UNTESTED)],
)
def test_a_verdict_follows_from_how_many_conditions_are_met(met, conditions, expected):
    assert verdict([True] * met + [False] * (conditions - met)) == expected


def test_a_check_says_the_threshold_by_which_it_decides():
    check = Check("the share is at least {:g}", 0.3, at_least)
    assert str(check) == "the share is at least 0.3"
    assert check.holds(0.3)
    assert not check.holds(0.29)
    assert not check.holds(None)


@pytest.mark.parametrize(
    ("rule", "holds", "fails"),
    [
        (within, (-0.1, 0.1), (-0.11, 0.1)),
        (above, (0.11, 0.2), (0.1, 0.2)),
        (below, (0.0, 0.09), (0.0, 0.1)),
        (rises_at_least, (0.1, 0.2), (0.09, 0.2)),
        (rises_at_most, (0.0, 0.1), (0.0, 0.11)),
        (falls_at_most, (-0.1, 0.2), (-0.11, 0.2)),
    ],
)
def test_a_rule_asks_where_the_whole_interval_lies(rule, holds, fails):
    for (low, high), expected in ((holds, True), (fails, False)):
        assert rule({"value": (low + high) / 2, "low": low, "high": high}, 0.1) == expected


@pytest.mark.parametrize(
    "world", ["LENGTH", "HACKED", "INVENTING", "FRAGILE", "HOPELESS", "requests"]
)
@pytest.mark.parametrize("sampler", [World.mixture, stuck])
def test_every_claim_says_what_it_tests_and_can_be_written_as_json(world, sampler):
    worlds = synthetic.requests("harmful") if world == "requests" else [getattr(synthetic, world)]
    known = evidence(
        ["0.25", "0.5", "1"], "0.5", OUTSIDE, prompts=60, worlds=worlds, sampler=sampler
    )
    claims = [claim for module in MODULES for claim in module.decide(known)]
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        json.dumps(dataclasses.asdict(claim), allow_nan=False)
        assert claim.about in PAPER
        assert claim.id.startswith("paper-")
        assert claim.task == "paper"
        assert claim.criterion
        assert claim.headline or claim.verdict == UNTESTED


def test_claims_are_the_same_in_whatever_order_the_anchors_are_listed():
    betas = ["0.25", "0.5", "1"]
    table = synthetic.completions(
        betas,
        ["0.25", "1"],
        ["0", "1/4", "1/2", "3/4", "1", "2"],
        baselines={"weights": (["1/2"], World.mixture)},
    )

    def claims(anchors: tuple[str, str]) -> list[Claim]:
        judging = synthetic.judging(betas, anchors, default_beta="0.25")
        known = Evidence(
            task="paper", policies=from_completions(table, judging), judging=judging, seed=0
        )
        return [claim for module in MODULES for claim in module.decide(known)]

    ascending = claims(("0.25", "1"))
    assert claims(("1", "0.25")) == ascending
    # the default anchor is the one that decodes the smooth path, down to its own optimum
    by_id = {claim.id: claim for claim in ascending}
    reward = by_id["paper-smooth-rloo"].evidence["reward"]["values"]
    optimum = synthetic.LENGTH.mean(synthetic.LENGTH.optimum(0.25), "gold")
    assert reward[-1] == pytest.approx(optimum, abs=0.05)
    assert by_id["paper-baseline-weights-rloo"].verdict == REPRODUCED
