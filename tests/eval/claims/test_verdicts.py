"""How verdicts follow from conditions, and what every claim must say."""

import dataclasses
import json

import numpy as np
import pytest

from eval.claims import (
    FAILED,
    INCONCLUSIVE,
    PAPER,
    REPRODUCED,
    UNTESTED,
    VERDICTS,
    Claim,
    verdict,
)
from eval.claims.baselines import better_than
from eval.claims.checks import Check, Condition, above, below, row, within
from eval.decide import decide, evidence_from
from eval.statistics import Measurement, Outcome, power
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS, OUTSIDE, stuck
from tests.eval.synthetic import World, evidence

POSITIVE = Check("the mean is above {:g}", 0.0, above)


def condition(value: float, error: float = 1.0, seeds: int = 5) -> Condition:
    return Condition("x", POSITIVE, Measurement(value, error, 4.0, seeds, 100))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([9, 9, 9], REPRODUCED),
        ([9, 1, 9], INCONCLUSIVE),
        ([9, 9, -9], FAILED),
        ([1, -9, 1], FAILED),
        ([0.5], INCONCLUSIVE),
        ([], UNTESTED),
    ],
)
def test_a_verdict_follows_from_its_conditions(values, expected):
    assert verdict([condition(value) for value in values]) == expected


@pytest.mark.parametrize(
    ("seeds", "prompts", "said"),
    [
        (5, 100, ""),
        (5, 0, ""),  # a number a seed rests on no prompts
        (5, 31, "The criterion needs 32 prompts, and there are 31."),
        (4, 31, "The criterion needs 5 training seeds, and there are 4."),
        (1, 100, "The criterion needs 5 training seeds, and there is 1 training seed."),
    ],
)
def test_too_few_seeds_or_prompts_test_nothing(seeds, prompts, said):
    claim = Claim("x", "limit", "It is so.", "ours", "It is.")
    decided = Condition("x", POSITIVE, Measurement(9.0, 1.0, 4.0, seeds, prompts))
    judged = claim.judged([decided], "It is 9.", {})
    assert judged.verdict == (UNTESTED if said else REPRODUCED)
    assert judged.headline.startswith(said)


def test_one_of_many_conditions_must_fail_more_clearly_than_one_alone():
    """At -2.5 standard errors and four degrees of freedom the p-value is 0.033."""
    assert verdict([condition(-2.5)]) == FAILED
    assert verdict([condition(-2.5), *[condition(9)] * 9]) == INCONCLUSIVE


def test_a_true_claim_of_ten_conditions_is_refuted_as_seldom_as_one_of_a_single_condition():
    """Of 2000 claims at the threshold at most 5% may be refuted, with five standard errors."""
    rng = np.random.default_rng(0)
    refuted = 0
    for _ in range(2000):
        seeds = rng.normal(size=(10, 5))
        conditions = []
        for values in seeds:
            error = values.std(ddof=1) / 5**0.5
            measured = Measurement(values.mean(), error, 4.0, 5, 100)
            conditions.append(Condition("x", POSITIVE, measured))
        refuted += verdict(conditions) == FAILED
    assert refuted / 2000 < 0.05 + 5 * (0.05 * 0.95 / 2000) ** 0.5


def test_a_check_says_the_threshold_by_which_it_decides():
    check = Check("the share is below {:g}", 0.3, below)
    assert str(check) == "the share is below 0.3"
    assert check.outcome(Measurement(0.1, 0.01, 4.0, 5, 100)) is Outcome.HOLDS
    assert check.outcome(Measurement(0.5, 0.01, 4.0, 5, 100)) is Outcome.FAILS
    assert check.outcome(Measurement(0.29, 0.1, 4.0, 5, 100)) is Outcome.OPEN


def test_the_power_of_a_check_is_that_of_a_mean_so_far_beyond_its_threshold():
    pilot = Measurement(7.0, 0.1, 4.0, 5, 100)
    assert POSITIVE.power(pilot, 0.3) == power(0.1, 4.0, 0.3)
    assert Check("{:g}", 0.3, below).power(pilot, 0.1) == pytest.approx(power(0.1, 4.0, 0.2))
    equal = Check("{:g}", 0.5, within)
    assert equal.power(pilot, 0.0) > 0.9
    shown = row(Condition("x", POSITIVE, pilot, 0.3), 0.05)
    assert shown["power"] == power(0.1, 4.0, 0.3)
    assert row(Condition("x", POSITIVE, pilot), 0.05)["power"] is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(above, 2.0), (below, -2.0), (within, 0.0), (better_than(0.5).rule, 2.0)],
)
def test_power_is_how_often_a_check_holds_where_the_claim_is_true(rule, expected):
    """Of 2000 studies of five seeds; five standard errors are at most 0.06."""
    check = Check("{:g}", 1.0, rule)
    rng = np.random.default_rng(0)
    holds = 0
    for values in expected + 0.4 * rng.normal(size=(2000, 5)):
        error = values.std(ddof=1) / 5**0.5
        holds += check.outcome(Measurement(values.mean(), error, 4.0, 5, 64)) is Outcome.HOLDS
    power_of_check = check.power(Measurement(0.0, 0.4 / 5**0.5, 4.0, 5, 64), expected)
    assert power_of_check == pytest.approx(holds / 2000, abs=0.06)
    assert power_of_check > 0.5


def test_too_few_seeds_are_said_and_the_numbers_stay():
    claim = Claim("id", "paper", "claim", "source", "criterion")
    few = claim.judged([condition(9, seeds=4)], "It is 9.", {"n": 1})
    assert few.verdict == UNTESTED
    assert few.headline == "The criterion needs 5 training seeds, and there are 4. It is 9."
    assert few.evidence["n"] == 1
    assert few.evidence["conditions"][0]["value"] == 9
    assert claim.judged([condition(9, seeds=4)], "", {}, min_seeds=4).verdict == REPRODUCED


@pytest.mark.parametrize(
    "world", ["LENGTH", "HACKED", "INVENTING", "FRAGILE", "HOPELESS", "requests"]
)
@pytest.mark.parametrize("sampler", [World.mixture, stuck])
def test_every_claim_says_what_it_tests_and_can_be_written_as_json(world, sampler):
    worlds = synthetic.requests("harmful") if world == "requests" else [getattr(synthetic, world)]
    known = evidence(
        ["0.25", "0.5", "1"], "0.5", OUTSIDE, prompts=30, samples=4, worlds=worlds, sampler=sampler
    )
    claims = decide(known)
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        json.dumps(dataclasses.asdict(claim), allow_nan=False)
        assert claim.verdict in VERDICTS
        assert claim.part in ("paper", "limit", "premise")
        assert claim.about in PAPER or (claim.about is None and claim.part != "paper")
        assert claim.id.startswith("paper-")
        assert claim.task == "paper"
        assert claim.criterion.endswith(".")
        assert "{" not in claim.criterion
        assert claim.headline


def test_heavy_noise_is_inconclusive_and_not_a_refutation():
    """32 prompts, two completions each: little can be told, and little is refuted.

    Each claim is refuted by chance with at most 5%.
    """
    known = evidence(BETAS, "0.5", prompts=32, samples=2)
    found = [claim.verdict for claim in decide(known)]
    assert found.count(FAILED) <= 2
    assert INCONCLUSIVE in found


def test_claims_are_the_same_in_whatever_order_the_anchors_are_listed():
    betas = ["0.25", "0.5", "1"]
    table = synthetic.completions(
        betas, ["0.25", "1"], ["0", "1/4", "1/2", "3/4", "1", "2"], prompts=30, seeds=5
    )
    read = synthetic.readings(betas, ["0.25", "1"], prompts=30)

    def claims(anchors: tuple[str, str]) -> list[Claim]:
        judging = synthetic.judging(betas, anchors, seeds=5, default_beta="0.25")
        return decide(evidence_from("paper", table, read, judging, seed=0))

    ascending = claims(("0.25", "1"))
    assert claims(("1", "0.25")) == ascending
    # the default anchor is the one that decodes the smooth path, down to its own optimum
    by_id = {claim.id: claim for claim in ascending}
    reward = by_id["paper-smooth-rloo"].evidence["reward"]
    optimum = synthetic.LENGTH.mean(synthetic.LENGTH.optimum(0.25), "gold")
    assert reward[-1]["reward"] == pytest.approx(optimum, abs=0.05)
