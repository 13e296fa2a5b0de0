"""Two rewards at once, on a study made on paper: the points in their plane, and the verdicts.

Points must be where theory has them, within five standard errors.
"""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, several_rewards
from eval.policies import find, from_completions
from eval.several_rewards import at, points, rows
from eval.summarize import length_distributions
from tests.eval import synthetic, two_rewards
from tests.eval.two_rewards import CONFLICT, ENDS, HARMONY, SECTION, evidence, mixture

PAIRS = [*SECTION.joint.values(), *ENDS, *SECTION.beyond]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return two_rewards.completions(CONFLICT)


@pytest.fixture(scope="module")
def plane(table):
    return points(table, two_rewards.judging())


def pair(first: float, second: float) -> tuple[Fraction, Fraction]:
    return Fraction(str(first)), Fraction(str(second))


def close(values: np.ndarray, truth: float) -> bool:
    values = values.mean(axis=0)  # over seeds
    return abs(values.mean() - truth) < 5 * values.std() / len(values) ** 0.5 + 1e-9


@pytest.mark.parametrize("lams", PAIRS, ids=lambda lams: "{:g},{:g}".format(*map(float, lams)))
def test_dera_and_the_mixture_are_where_the_closed_form_has_them(plane, lams):
    exact = mixture(CONFLICT, *map(float, lams))
    truth = {
        "reward_1": CONFLICT.mean(exact, "kindness"),
        "reward_2": -0.1 * CONFLICT.mean(exact, "words"),
    }
    truth["kl"] = exact @ np.log(exact / CONFLICT.reference)
    for kind in ("dera", "mixture"):
        point = at(plane, kind, lams)
        for quantity, value in truth.items():
            assert close(point.values[quantity], value), (kind, quantity)
        assert close(point.reward(pair(3, 2)), 3 * truth["reward_1"] + 2 * truth["reward_2"])


def test_a_sampler_that_is_off_is_reweighted_to_the_exact_mixture():
    table = two_rewards.completions(
        CONFLICT, sampler=lambda world, first, second: mixture(world, 0.6 * first, 0.6 * second)
    )
    plane = points(table, two_rewards.judging())
    exact = mixture(CONFLICT, 2, 0)
    dera = at(plane, "dera", pair(2, 0))
    reached = at(plane, "mixture", pair(2, 0))
    assert not close(dera.values["reward_1"], CONFLICT.mean(exact, "kindness"))
    assert close(reached.values["reward_1"], CONFLICT.mean(exact, "kindness"))
    assert close(reached.values["kl"], exact @ np.log(exact / CONFLICT.reference))
    assert 2 < reached.ess < dera.ess == 32


def test_every_seed_has_its_own_row(table, plane):
    by_seed = []
    for seed in (0, 1):
        of_seed = table[table["seed"].isna() | (table["seed"] == seed)]
        by_seed.append(points(of_seed, two_rewards.judging()))
    for kind, lams in (("joint", pair(0.5, 0.5)), ("dera", pair(1, 1)), ("mixture", pair(1, 1))):
        rows_of_both = at(plane, kind, lams).values["reward_1"]
        for seed in (0, 1):
            alone = at(by_seed[seed], kind, lams).values["reward_1"]
            np.testing.assert_allclose(rows_of_both[seed], alone[0])
        assert not np.allclose(rows_of_both[0], rows_of_both[1])


def test_the_table_has_a_row_for_each_point_and_a_gain_where_the_weights_are_known(plane):
    lines = pd.DataFrame(rows(plane))
    assert len(lines) == 1 + 2 + 3 + 2 * len(PAIRS)
    assert set(lines["objective_1"]) == {"rloo-kind"}
    assert set(lines["objective_2"]) == {"rloo-brief"}
    assert list(lines["gain"].notna()) == list(np.isclose(lines["lam_1"] + lines["lam_2"], 1))
    for name in ("reward_1", "reward_2", "kl", "broken"):
        assert (lines[f"{name}_low"] <= lines[name]).all()
        assert (lines[name] <= lines[f"{name}_high"]).all()
    half = lines[(lines["kind"] == "dera") & (lines["lam_1"] == 0.5)].iloc[0]
    reference = lines[lines["kind"] == "reference"].iloc[0]
    gains = [0.5 * (half[reward] - reference[reward]) for reward in ("reward_1", "reward_2")]
    assert half["gain"] == pytest.approx(sum(gains))


def test_rows_of_several_models_are_no_policies_of_one(table):
    judging = two_rewards.judging()
    alone = table[table["kind"] != "several_rewards"].drop(columns="lams")
    with_them = from_completions(table, judging)
    without = from_completions(alone, judging)
    assert _identities(with_them) == _identities(without)
    (reference,) = find(with_them, "reference", objective="rloo-1-1")
    assert set(reference.per_prompt) == {*CONFLICT.all_measures(), "reward", "kl"}
    assert set(length_distributions(table)["kind"]) == {"reference", "retrained"}


def _identities(policies) -> list[tuple]:
    return [(policy.kind, policy.objective, policy.seed) for policy in policies]


def verdicts(**more) -> list[str]:
    return [claim.verdict for claim in several_rewards.decide(evidence(CONFLICT, **more))]


def test_both_claims_are_reproduced_where_training_and_sampling_are_perfect():
    agrees, trades = several_rewards.decide(evidence(CONFLICT))
    assert (agrees.verdict, trades.verdict) == (REPRODUCED, REPRODUCED)
    weights = [row["weights"] for row in agrees.evidence["by weights"]]
    assert weights == ["0.25, 0.75", "0.5, 0.5", "0.75, 0.25"]

    where = {row["lam"]: row["where"] for row in trades.evidence["by mixing weights"]}
    path = ["0, 1", "0.25, 0.75", "0.5, 0.5", "0.75, 0.25", "1, 0"]
    beyond = ["1, 1", "1.5, -0.5", "2, 0"]
    assert where == dict.fromkeys(path, "between the ends") | dict.fromkeys(beyond, "beyond")
    assert list(where)[:5] == path
    costs = trades.evidence["the other reward, each model of one reward - reference"]
    assert set(costs) == {"rloo-kind", "rloo-brief"}
    assert all(cost["high"] < 0 for cost in costs.values())


def test_agreement_fails_and_training_is_blamed_where_joint_models_are_off():
    agrees, trades = several_rewards.decide(
        evidence(CONFLICT, joint=lambda world, first, second: mixture(world, 5 * first, 5 * second))
    )
    assert (agrees.verdict, trades.verdict) == (FAILED, REPRODUCED)
    for row in agrees.evidence["by weights"]:
        training = row["training"]["value"]
        approximation = row["approximation"]["value"]
        assert row["joint - DeRa"]["value"] == pytest.approx(training + approximation, abs=1e-9)
        assert training > 3 * abs(approximation)


def test_agreement_fails_and_the_approximation_is_blamed_where_the_sampler_is_off():
    agrees, _ = several_rewards.decide(
        evidence(
            CONFLICT, sampler=lambda world, first, second: mixture(world, first / 5, second / 5)
        )
    )
    assert agrees.verdict == FAILED
    for row in agrees.evidence["by weights"]:
        assert row["approximation"]["value"] > 3 * abs(row["training"]["value"])


def swapped(world, first, second):
    """The ends are right, and what lies between them is in the wrong order."""
    return mixture(world, *((second, first) if 0 < first < 1 else (first, second)))


def test_a_decoder_that_trades_the_wrong_way_or_in_the_wrong_order_is_found():
    assert verdicts(sampler=lambda world, first, second: mixture(world, second, first))[1] == FAILED
    assert verdicts(sampler=swapped)[1] == FAILED


def test_nothing_is_traded_where_the_rewards_do_not_conflict():
    agrees, trades = several_rewards.decide(evidence(HARMONY))
    assert (agrees.verdict, trades.verdict) == (REPRODUCED, UNTESTED)
    assert "do not conflict" in trades.headline


def test_a_task_without_the_section_has_no_such_claims():
    assert several_rewards.decide(synthetic.evidence(["0.25", "1"], "0.25")) == []
