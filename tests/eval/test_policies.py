"""From completions to policies, on a study whose truth is known.

Five standard errors are allowed.
"""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from eval.policies import find, from_completions, measures, passes
from eval.summarize import length_distributions, row, win_rates
from tests.eval import synthetic

BETAS = ["0.25", "1", "4"]
JUDGING = synthetic.judging(BETAS, ["1"])


@pytest.fixture(scope="module")
def table():
    return synthetic.completions(BETAS, ["1"], ["0", "1/2", "2"])


@pytest.fixture(scope="module")
def policies(table):
    return from_completions(table, JUDGING)


def close(values: np.ndarray, truth: float) -> bool:
    return abs(values.mean() - truth) < 5 * values.std() / len(values) ** 0.5 + 1e-9


@pytest.mark.parametrize("beta", BETAS)
def test_optimum_mixture_retrained_and_dera_all_reach_the_closed_form(policies, beta):
    exact = synthetic.optimum(float(beta))
    truth = {name: synthetic.LENGTH.mean(exact, name) for name in ("gold", "length", "fluency")}
    truth |= {"reward": exact @ synthetic.REWARD, "kl": exact @ np.log(exact / synthetic.REFERENCE)}
    for kind in ("optimum", "retrained", "dera", "mixture"):
        (policy,) = find(policies, kind, beta=Fraction(beta))
        for quantity, value in truth.items():
            assert close(policy.per_prompt[quantity], value), (kind, quantity)


def test_the_optimum_is_that_of_the_reward_and_not_of_gold():
    """Where a reward model is maximised, gold at the optimum is what that reward's optimum has."""
    world = synthetic.HACKED
    policies = from_completions(
        synthetic.completions(["0.5"], ["0.5"], [], worlds=[world]),
        synthetic.judging(["0.5"], ["0.5"], "learned"),
    )
    exact = world.optimum(0.5)
    for kind in ("retrained", "dera"):
        (policy,) = find(policies, kind)
        assert close(policy.per_prompt["reward"], world.mean(exact, "learned"))
        assert close(policy.per_prompt["gold"], world.mean(exact, "gold"))
    # 64 samples of the reference seldom hold the rare completion, so the optimum is tested in a
    # world that has none
    world = synthetic.World(
        np.array([0.5, 0.3, 0.2]),
        {"gold": np.array([0.0, 1.0, -1.0]), "learned": np.array([0.0, 1.0, 2.0])},
        "learned",
    )
    policies = from_completions(
        synthetic.completions(["1"], ["1"], [], worlds=[world]),
        synthetic.judging(["1"], ["1"], "learned"),
    )
    (policy,) = find(policies, "optimum")
    assert close(policy.per_prompt["gold"], world.mean(world.optimum(1.0), "gold"))


def test_every_objective_has_a_reference_and_optima_of_its_own(table):
    rloo = JUDGING.objectives["rloo"]
    dpo = dataclasses.replace(rloo, reward="length", betas=("2",))
    policies = from_completions(table, synthetic.judging_of({"rloo": rloo, "dpo": dpo}))
    assert {policy.objective for policy in find(policies, "reference")} == {"rloo", "dpo"}
    (reference,) = find(policies, "reference", objective="dpo")
    np.testing.assert_array_equal(reference.per_prompt["reward"], reference.per_prompt["length"])
    betas = {
        name: {policy.beta for policy in find(policies, "optimum", objective=name)}
        for name in ("rloo", "dpo")
    }
    assert betas == {"rloo": set(map(Fraction, BETAS)), "dpo": {Fraction(2)}}
    trained = [p for p in policies if p.kind in ("retrained", "dera", "mixture")]
    assert {policy.objective for policy in trained} == {"rloo"}


def test_measures_are_the_columns_that_are_no_labels(table):
    assert set(measures(table)) == {"gold", "length", "repetition", "broken", "fluency"}


def test_equal_weights_have_no_gap_and_full_effective_sample_size(policies):
    for policy in find(policies, "mixture"):
        np.testing.assert_allclose(policy.gap, 0, atol=1e-9)
        assert policy.ess == pytest.approx(16)


def test_a_sampler_that_misses_the_mixture_has_the_gap_of_the_closed_form():
    """Sampler and mixture are both known, so the divergence between them is known.

    The mean over 200 prompts of 32 samples is allowed five standard errors.
    """

    def off(world, anchor, lam):
        return world.mixture(anchor, 1.2 * lam)

    table = synthetic.completions(
        ["1"], ["1"], ["2"], prompts=200, samples=32, seeds=1, sampler=off
    )
    policies = from_completions(table, synthetic.judging(["1"], ["1"], seeds=1))
    (policy,) = find(policies, "mixture", lam=Fraction(2))
    drawn, exact = synthetic.LENGTH.mixture(1, 2.4), synthetic.LENGTH.mixture(1, 2)
    assert close(policy.gap, drawn @ np.log(drawn / exact))
    assert close(policy.per_prompt["gold"], exact @ synthetic.REWARD)


def test_seeds_are_kept_apart_and_averaged(policies):
    (mean,) = find(policies, "retrained", beta=Fraction(1))
    seeds = [find(policies, "retrained", seed=seed, beta=Fraction(1))[0] for seed in ("0", "1")]
    np.testing.assert_allclose(
        mean.per_prompt["reward"],
        (seeds[0].per_prompt["reward"] + seeds[1].per_prompt["reward"]) / 2,
    )
    assert mean.completions == sum(seed.completions for seed in seeds)
    np.testing.assert_array_equal(mean.gold, np.hstack([seed.gold for seed in seeds]))


def test_lam_zero_is_the_reference_and_has_no_beta(policies):
    (policy,) = find(policies, "dera", lam=Fraction(0))
    assert policy.beta is None
    assert abs(policy.per_prompt["kl"]).max() < 1e-9


def test_a_row_states_its_interval_and_counts(policies):
    line = row(find(policies, "mixture", beta=Fraction(1))[0], JUDGING)
    for name in ("reward", "gold", "kl", "length", "broken", "fluency", "repetition", "gap"):
        assert line[f"{name}_low"] <= line[name] <= line[f"{name}_high"]
    counts = (line["prompts"], line["completions"], line["lam"], line["seed"])
    assert counts == (64, 64 * 16 * 2, 1.0, "mean")
    assert line["default_beta"] == 1.0


def test_a_measure_is_averaged_over_the_prompts_it_applies_to():
    worlds = synthetic.requests("harmful")
    judging = synthetic.judging(["0.25"], ["0.25"])
    table = synthetic.completions(["0.25"], ["0.25"], ["0"], prompts=90, worlds=worlds)
    (policy,) = find(from_completions(table, judging), "retrained")
    line = row(policy, judging)
    for world, kind in zip(worlds, synthetic.KINDS, strict=True):
        values = policy.per_prompt[f"refused_{kind}"]
        assert np.isfinite(values).sum() == 30
        assert close(values[np.isfinite(values)], world.optimum(0.25)[0])
        assert line[f"refused_{kind}"] == pytest.approx(np.nanmean(values))


def test_every_policy_meets_the_reference_and_the_default_and_every_lam_every_other(policies):
    rows = list(win_rates(policies, JUDGING))
    kinds = {(r["kind"], r["against_kind"]) for r in rows}
    of_opponents = {
        (kind, opponent)
        for kind in ("reference", "retrained", "dera")
        for opponent in ("reference", "retrained")
    }
    assert kinds == of_opponents | {("dera", "dera")}
    # 1 reference, 3 retrained models and every lam against two opponents, and lam against lam
    lams = {policy.lam for policy in find(policies, "dera")}
    assert len(lams) == 6
    assert len(rows) == 2 * (1 + 3 + len(lams)) + len(lams) ** 2
    squares = {
        (r["lam"], r["against_lam"]): r["win_rate"] for r in rows if r["against_kind"] == "dera"
    }
    for (first, second), rate in squares.items():
        assert rate + squares[second, first] == pytest.approx(1)
        assert 0 <= rate <= 1


BASELINES = {
    "weights": (["1/2", "2"], synthetic.World.mixture),
    "top-k": (["2"], lambda world, anchor, lam: world.reference),
}


@pytest.fixture(scope="module")
def table_with_baselines():
    return synthetic.completions(BETAS, ["1"], ["0", "1/2", "2"], baselines=BASELINES)


def with_best_of(*numbers: int):
    return synthetic.judging(BETAS, ["1"], reweighted={"best_of_n": numbers})


def test_baselines_are_policies_of_their_anchor_seed_and_knob(table_with_baselines, policies):
    compared = from_completions(table_with_baselines, with_best_of(2, 4))
    names = {(p.kind, p.knob) for p in compared if p.knob is not None}
    assert names == {
        ("weights", Fraction(1, 2)),
        ("weights", Fraction(2)),
        ("top-k", Fraction(2)),
        ("best-of-n", Fraction(2)),
        ("best-of-n", Fraction(4)),
    }
    for seed in ("0", "mean"):
        (far,) = find(compared, "weights", seed, knob=Fraction(2))
        assert (far.anchor, far.beta, far.lam) == (Fraction(1), None, None)
        assert far.gold.shape == (64, 16 if seed == "0" else 32)
        exact = synthetic.LENGTH.mixture(1, 2)
        assert close(far.per_prompt["reward"], exact @ synthetic.REWARD)
        assert close(far.per_prompt["kl"], exact @ np.log(exact / synthetic.REFERENCE))
    others = [policy for policy in compared if policy.knob is None]
    assert [(p.kind, p.seed, p.beta, p.lam) for p in others] == [
        (p.kind, p.seed, p.beta, p.lam) for p in policies
    ]


@pytest.mark.parametrize("n", [2, 8])
def test_the_best_of_n_reaches_the_closed_form(table, n):
    """There are two rewards, so the best of n is the reference with other shares of them.

    `length` is no reward, and follows from the shares.
    """
    (policy,) = find(from_completions(table, with_best_of(n)), "best-of-n")
    is_good = synthetic.REWARD == 0
    good = synthetic.REFERENCE[is_good].sum()
    ratio = np.where(is_good, (1 - (1 - good) ** n) / good, (1 - good) ** (n - 1))
    best = ratio * synthetic.REFERENCE
    assert best.sum() == pytest.approx(1)
    for quantity in ("reward", "gold", "length"):
        values = synthetic.LENGTHS if quantity == "length" else synthetic.REWARD
        assert close(policy.per_prompt[quantity], best @ values)
    assert close(policy.per_prompt["kl"], best @ np.log(best / synthetic.REFERENCE))
    assert (policy.seed, policy.knob, policy.gold) == ("mean", n, None)
    assert policy.ess < 64


def test_the_passes_of_a_policy_are_those_of_the_models_it_runs_for_a_token(table_with_baselines):
    compared = from_completions(table_with_baselines, with_best_of(2, 4))
    counts = {(policy.kind, policy.knob): passes(policy) for policy in compared}
    assert counts == {
        ("reference", None): 1,
        ("retrained", None): 1,
        ("dera", None): 2,
        ("mixture", None): None,
        ("optimum", None): None,
        ("weights", Fraction(1, 2)): 1,
        ("weights", Fraction(2)): 1,
        ("top-k", Fraction(2)): 2,
        ("best-of-n", Fraction(2)): 2,
        ("best-of-n", Fraction(4)): 4,
    }


def test_tables_name_the_knob_and_tell_baselines_apart(table_with_baselines):
    judging = with_best_of(2)
    compared = from_completions(table_with_baselines, judging)
    lines = [row(policy, judging) for policy in compared]
    knobs = {(line["kind"], line["knob"]) for line in lines}
    assert {("weights", 0.5), ("top-k", 2.0), ("best-of-n", 2.0), ("dera", None)} <= knobs
    lengths = length_distributions(table_with_baselines)
    keys = ["kind", "anchor", "beta", "lam", "knob"]
    shares = lengths.groupby(keys, dropna=False)["share"].sum()
    np.testing.assert_allclose(shares, 1)
    assert len(shares) == 1 + 3 + 6 + 3
    assert set(lengths["knob"].dropna()) == {0.5, 2}
    kinds = {line["kind"] for line in win_rates(compared, judging)}
    assert kinds == {"reference", "retrained", "dera"}


def test_length_shares_sum_to_one(table):
    lengths = length_distributions(table)
    shares = lengths.groupby(["kind", "anchor", "beta", "lam"], dropna=False)["share"].sum()
    np.testing.assert_allclose(shares, 1)
    assert len(shares) == 1 + 3 + 6
