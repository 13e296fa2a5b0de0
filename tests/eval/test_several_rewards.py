"""Two rewards at once: points where theory has them, and verdicts, on a study made on paper; five standard errors are allowed."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, several_rewards
from eval.policies import find, from_completions
from eval.several_rewards import at, points, rows
from eval.summarize import length_distributions
from tests.eval import synthetic, two_rewards
from tests.eval.two_rewards import CONFLICT, HARMONY, SECTION, evidence, mixture

PAIRS = [*SECTION["joint"].values(), [1, 0], [0, 1], [0, 0], *SECTION["beyond"]]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return two_rewards.completions(CONFLICT)


@pytest.fixture(scope="module")
def found(table):
    return points(table, SECTION, two_rewards.objectives())


def pair(first: float, second: float) -> tuple[Fraction, Fraction]:
    return Fraction(str(first)), Fraction(str(second))


def close(values: np.ndarray, truth: float) -> bool:
    return abs(values.mean() - truth) < 5 * values.std() / len(values) ** 0.5 + 1e-9


@pytest.mark.parametrize("lams", PAIRS, ids=str)
def test_dera_and_the_mixture_are_where_the_closed_form_has_them(found, lams):
    exact = mixture(CONFLICT, *lams)
    truth = {
        "reward_1": CONFLICT.mean(exact, "kindness"),
        "reward_2": -0.1 * CONFLICT.mean(exact, "words"),
    }
    truth["kl"] = exact @ np.log(exact / CONFLICT.reference)
    for kind in ("dera", "mixture"):
        point = at(found, kind, pair(*lams))
        for quantity, value in truth.items():
            assert close(point.per_prompt[quantity], value), (kind, quantity)
        assert close(point.reward(pair(3, 2)), 3 * truth["reward_1"] + 2 * truth["reward_2"])


def test_a_sampler_that_is_off_is_reweighted_to_the_exact_mixture():
    table = two_rewards.completions(
        CONFLICT, sampler=lambda world, first, second: mixture(world, 0.6 * first, 0.6 * second)
    )
    found = points(table, SECTION, two_rewards.objectives())
    exact = mixture(CONFLICT, 2, 0)
    dera, reached = (at(found, kind, pair(2, 0)) for kind in ("dera", "mixture"))
    assert not close(dera.per_prompt["reward_1"], CONFLICT.mean(exact, "kindness"))
    assert close(reached.per_prompt["reward_1"], CONFLICT.mean(exact, "kindness"))
    assert close(reached.per_prompt["kl"], exact @ np.log(exact / CONFLICT.reference))
    assert 2 < reached.ess < dera.ess == 32


def test_seeds_are_averaged_within_each_prompt(table, found):
    alone = [
        points(
            table[table["seed"].isna() | (table["seed"] == seed)], SECTION, two_rewards.objectives()
        )
        for seed in (0, 1)
    ]
    for kind, lams in (("joint", pair(0.5, 0.5)), ("dera", pair(1, 1)), ("mixture", pair(1, 1))):
        one, other, both = (at(of, kind, lams).per_prompt["reward_1"] for of in (*alone, found))
        np.testing.assert_allclose(both, (one + other) / 2)
        assert not np.allclose(one, other)


def test_the_table_has_a_row_for_each_point_and_a_gain_where_the_weights_are_known(found):
    lines = pd.DataFrame(rows(found, resamples=100, seed=0))
    assert len(lines) == 1 + 2 + 3 + 2 * len(PAIRS)
    assert set(lines["part_1"]) == {"rloo-kind"}
    assert list(lines["gain"].notna()) == list(np.isclose(lines["lam_1"] + lines["lam_2"], 1))
    for name in ("reward_1", "reward_2", "kl", "broken"):
        assert (lines[f"{name}_low"] <= lines[name]).all()
        assert (lines[name] <= lines[f"{name}_high"]).all()
    half = lines[(lines["kind"] == "dera") & (lines["lam_1"] == 0.5)].iloc[0]
    reference = lines[lines["kind"] == "reference"].iloc[0]
    assert half["gain"] == pytest.approx(
        sum(0.5 * (half[r] - reference[r]) for r in ("reward_1", "reward_2"))
    )


def test_rows_of_several_models_are_no_policies_of_one(table):
    settings = two_rewards.objectives()
    alone = table[table["policy"] != "several_rewards"].drop(columns="lams")
    with_them, without = (from_completions(rows, settings) for rows in (table, alone))
    assert [(p.kind, p.objective, p.seed) for p in with_them] == [
        (p.kind, p.objective, p.seed) for p in without
    ]
    assert set(find(with_them, "reference", objective="rloo-1-1")[0].per_prompt) == {
        *synthetic_measures(),
        "reward",
        "kl",
    }
    assert set(length_distributions(table)["policy"]) == {"reference", "retrained"}


def synthetic_measures() -> set[str]:
    return set(CONFLICT.all_measures())


def verdicts(**more) -> list[str]:
    return [claim.verdict for claim in several_rewards.decide(evidence(CONFLICT, **more))]


def test_both_claims_are_reproduced_where_training_and_sampling_are_perfect():
    agrees, trades = several_rewards.decide(evidence(CONFLICT))
    assert (agrees.verdict, trades.verdict) == (REPRODUCED, REPRODUCED)
    assert agrees.evidence["equivalent"] == "equivalent at 3 of 3 informative weights"
    assert [row["weights"] for row in agrees.evidence["by weights"]] == [
        "0.25, 0.75",
        "0.5, 0.5",
        "0.75, 0.25",
    ]
    where = {row["lam"]: row["where"] for row in trades.evidence["by mixing weights"]}
    path = ["0, 1", "0.25, 0.75", "0.5, 0.5", "0.75, 0.25", "1, 0"]
    assert where == dict.fromkeys(path, "between the ends") | dict.fromkeys(
        ["1, 1", "1.5, -0.5", "2, 0"], "beyond"
    )
    assert list(where)[:5] == path
    assert all(
        cost["high"] < 0
        for cost in trades.evidence["other's reward, each part - reference"].values()
    )
    assert trades.evidence["Spearman"] == [pytest.approx(1), pytest.approx(-1)]


def test_agreement_fails_and_training_is_blamed_where_joint_models_are_off():
    (agrees, trades) = several_rewards.decide(
        evidence(CONFLICT, joint=lambda world, first, second: mixture(world, 5 * first, 5 * second))
    )
    assert (agrees.verdict, trades.verdict) == (FAILED, REPRODUCED)
    for row in agrees.evidence["by weights"]:
        assert row["difference"]["value"] == pytest.approx(
            row["training"]["value"] + row["approximation"]["value"], abs=1e-9
        )
        assert row["training"]["value"] > 3 * abs(row["approximation"]["value"])


def test_agreement_fails_and_the_approximation_is_blamed_where_the_sampler_is_off():
    (agrees, _) = several_rewards.decide(
        evidence(
            CONFLICT, sampler=lambda world, first, second: mixture(world, first / 5, second / 5)
        )
    )
    assert agrees.verdict == FAILED
    for row in agrees.evidence["by weights"]:
        assert row["approximation"]["value"] > 3 * abs(row["training"]["value"])


def test_weights_where_the_reference_itself_would_pass_do_not_count():
    (agrees, _) = several_rewards.decide(
        evidence(CONFLICT, joint=lambda world, first, second: world.reference)
    )
    assert agrees.verdict == UNTESTED
    assert not any(row["informative"] for row in agrees.evidence["by weights"])


def swapped(world, first, second):
    """The ends are right, and what lies between them is in the wrong order."""
    return mixture(world, *((second, first) if 0 < first < 1 else (first, second)))


def test_a_decoder_that_trades_the_wrong_way_or_in_the_wrong_order_is_found():
    assert verdicts(sampler=lambda world, first, second: mixture(world, second, first))[1] == FAILED
    assert verdicts(sampler=swapped)[1] == PARTLY


def test_nothing_is_traded_where_the_rewards_do_not_conflict():
    agrees, trades = several_rewards.decide(evidence(HARMONY))
    assert (agrees.verdict, trades.verdict) == (REPRODUCED, UNTESTED)
    assert "do not conflict" in trades.headline


def test_a_task_without_the_section_has_no_such_claims():
    assert several_rewards.decide(synthetic.evidence(["0.25", "1"], "0.25")) == []
