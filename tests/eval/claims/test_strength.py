"""Better strengths and win rates; test_win_rates.py enumerates what wins how often."""

import dataclasses
import itertools

import numpy as np
import pytest

from eval.claims import FAILED, INCONCLUSIVE, REPRODUCED, UNTESTED, strength
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS, verdicts
from tests.eval.synthetic import evidence


def with_fair_default(*arguments, **more):
    """Evidence in which the default strength is TRL's for the spread of the reward."""
    known = evidence(*arguments, **more)
    default = float(known.objectives["rloo"].default_beta)
    return dataclasses.replace(known, reward_spread={"rloo": default / 0.05})


def wins(first: np.ndarray, second: np.ndarray, gold: np.ndarray) -> float:
    """How often a draw from the first distribution has more gold; a tie counts half."""
    total = 0.0
    for i, j in itertools.product(range(len(gold)), repeat=2):
        share = 1.0 if gold[i] > gold[j] else 0.5 * (gold[i] == gold[j])
        total += share * first[i] * second[j]
    return total


def test_a_better_strength_is_found_and_its_win_rate_is_the_enumerated_one():
    """The default is hacked. 0.04 is more than five standard errors of 100 prompts."""
    world = synthetic.HACKED
    known = with_fair_default(["0.33", "0.5", "4"], "0.33", worlds=[world], prompts=200)
    better, highest = strength.decide(known)
    gold = world.measures["gold"]
    truth = {}
    for beta in (0.5, 4):
        truth[beta] = wins(world.optimum(beta), world.optimum(0.33), gold)
    assert max(truth, key=truth.get) == 0.5
    assert better.verdict == REPRODUCED
    assert set(better.evidence["chosen lam by seed"]) == {"33/50"}
    for name in ("DeRa", "retrained"):
        measured = better.evidence[f"win rate of {name}"]
        assert measured["value"] == pytest.approx(truth[0.5], abs=0.04)
    assert highest.verdict == FAILED  # better than the default, and far from 0.9
    regret = better.evidence["regret (gold of the best retrained less that of the chosen)"]
    assert regret["value"] == pytest.approx(0, abs=1e-9)
    defaults = better.evidence["every other possible default"]
    assert [row["default beta"] for row in defaults] == [4, 0.5, 0.33]
    assert defaults[1]["win rate of DeRa"]["value"] < 0.5  # the best one cannot be beaten


def test_where_the_optimum_wins_nearly_always_the_papers_highest_win_rate_is_reproduced():
    world = synthetic.HOPELESS
    assert wins(world.optimum(0.1), world.optimum(4), world.measures["gold"]) > 0.95
    known = with_fair_default(["0.1", "4"], "4", worlds=[world])
    assert verdicts(strength.decide(known)) == [REPRODUCED, REPRODUCED]


def test_a_default_that_is_the_best_already_is_not_beaten():
    known = with_fair_default(["0.5", "1", "4"], "0.5", worlds=[synthetic.HACKED])
    for verdict in verdicts(strength.decide(known)):
        assert verdict in (FAILED, INCONCLUSIVE)


def test_a_strength_at_which_retraining_does_not_pay_is_not_reproduced():
    known = with_fair_default(
        ["0.5", "4"],
        "4",
        worlds=[synthetic.HACKED],
        retrained=lambda world, beta: world.optimum(4),
    )
    better, _ = strength.decide(known)
    assert better.verdict in (FAILED, INCONCLUSIVE)


def test_what_is_chosen_on_one_half_of_the_prompts_is_not_confirmed_by_it():
    """DeRa wins every comparison of the first half and none of the second."""
    known = with_fair_default(
        ["0.5", "4"], "4", worlds=[synthetic.HACKED], retrained=lambda world, beta: world.reference
    )
    prompts = len(known.policies[0].per_prompt["gold"])
    gold = np.where(np.arange(prompts) < prompts // 2, 2.0, -2.0)[:, None]
    policies = []
    for policy in known.policies:
        if policy.kind == "dera":
            members = tuple(dataclasses.replace(member, gold=gold) for member in policy.by_seed)
            policy = dataclasses.replace(policy, gold=gold, by_seed=members)
        policies.append(policy)
    better, highest = strength.decide(dataclasses.replace(known, policies=policies))
    assert verdicts([better, highest]) == [FAILED, FAILED]
    assert better.evidence["win rate of DeRa"]["value"] == 0


@pytest.mark.parametrize("factor", [0.5, 3])
def test_a_default_that_is_not_trls_is_not_tested(factor):
    known = with_fair_default(["0.5", "4"], "4", worlds=[synthetic.HACKED])
    spread = {"rloo": factor * known.reward_spread["rloo"]}
    claims = strength.decide(dataclasses.replace(known, reward_spread=spread))
    assert verdicts(claims) == [UNTESTED, UNTESTED]
    assert f"TRL's default is {0.05 * spread['rloo']:.3g}" in claims[0].headline


def test_strength_is_not_asked_without_another_strength_nor_where_gold_is_maximised():
    assert strength.decide(evidence(["4"], "4", worlds=[synthetic.HACKED])) == []
    assert strength.decide(evidence(BETAS, "0.25")) == []
