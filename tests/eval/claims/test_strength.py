"""Better strengths and win rates; test_win_rates.py enumerates what wins how often."""

import dataclasses
import itertools

import numpy as np
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, strength
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS, verdicts
from tests.eval.synthetic import evidence


def wins(first: np.ndarray, second: np.ndarray, gold: np.ndarray) -> float:
    """How often a draw from the first distribution has more gold; a tie counts half."""
    total = 0.0
    for i, j in itertools.product(range(len(gold)), repeat=2):
        share = 1.0 if gold[i] > gold[j] else 0.5 * (gold[i] == gold[j])
        total += share * first[i] * second[j]
    return total


def test_a_better_strength_is_found_and_its_win_rate_is_the_enumerated_one():
    """The default stays close to the reference.

    With 100 prompts of 32 completions a side, 0.04 is more than five standard errors.
    """
    world = synthetic.HACKED
    better, highest = strength.decide(evidence(["0.5", "1", "4"], "4", worlds=[world]))
    truth = {
        beta: wins(world.optimum(beta), world.optimum(4), world.measures["gold"])
        for beta in (0.5, 1)
    }
    best = max(truth, key=truth.get)
    assert better.verdict == REPRODUCED
    assert better.evidence["beta"] == best
    assert better.evidence["prompts that confirm"] == 100
    for name in ("DeRa", "retrained"):
        assert better.evidence[f"win rate of {name}"]["value"] == pytest.approx(
            truth[best], abs=0.04
        )
    assert highest.verdict == PARTLY  # better than the default, and far from 0.9
    assert highest.evidence["win rate over the default"]["value"] == pytest.approx(
        truth[best], abs=0.04
    )
    reference = wins(world.optimum(best), world.reference, world.measures["gold"])
    assert highest.evidence["win rate over the reference"]["value"] == pytest.approx(
        reference, abs=0.04
    )


def test_where_the_optimum_wins_nearly_always_the_papers_highest_win_rate_is_reproduced():
    world = synthetic.HOPELESS
    assert wins(world.optimum(0.1), world.optimum(4), world.measures["gold"]) > 0.95
    assert verdicts(strength.decide(evidence(["0.1", "4"], "4", worlds=[world]))) == [
        REPRODUCED,
        REPRODUCED,
    ]


def test_a_default_that_is_the_best_already_is_not_beaten():
    assert verdicts(
        strength.decide(evidence(["0.5", "1", "4"], "0.5", worlds=[synthetic.HACKED]))
    ) == [FAILED, FAILED]


def test_only_half_is_reproduced_where_retraining_there_does_not_pay():
    better, _ = strength.decide(
        evidence(
            ["0.5", "4"],
            "4",
            worlds=[synthetic.HACKED],
            retrained=lambda world, beta: world.optimum(4),
        )
    )
    assert better.verdict == PARTLY


def test_what_is_chosen_on_one_half_of_the_prompts_is_not_confirmed_by_it():
    """DeRa wins every comparison of the first half and none of the second."""
    known = evidence(
        ["0.5", "4"], "4", worlds=[synthetic.HACKED], retrained=lambda world, beta: world.reference
    )
    policies = []
    for policy in known.policies:
        if policy.kind == "dera":
            policies.append(
                dataclasses.replace(policy, gold=np.where(np.arange(200) < 100, 2.0, -2.0)[:, None])
            )
        else:
            policies.append(policy)
    better, highest = strength.decide(dataclasses.replace(known, policies=policies))
    assert verdicts([better, highest]) == [FAILED, FAILED]
    assert better.evidence["win rate of DeRa"]["value"] == 0


def test_strength_is_not_asked_without_another_strength_nor_where_gold_is_maximised():
    assert strength.decide(evidence(["4"], "4", worlds=[synthetic.HACKED])) == []
    assert strength.decide(evidence(BETAS, "0.25")) == []
