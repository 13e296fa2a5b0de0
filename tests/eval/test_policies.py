"""From completions to policies, on a study whose truth is known; five standard errors are allowed."""

from fractions import Fraction

import numpy as np
import pytest

from eval.policies import find, from_completions, measures
from eval.summarize import length_distributions, row, win_rates
from tests.eval import synthetic

BETAS = ["0.25", "1", "4"]
OBJECTIVES = synthetic.objectives(BETAS, ["1"])


@pytest.fixture(scope="module")
def table():
    return synthetic.completions(BETAS, ["1"], ["0", "1/2", "2"])


@pytest.fixture(scope="module")
def policies(table):
    return from_completions(table, OBJECTIVES)


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
    found = from_completions(
        synthetic.completions(["0.5"], ["0.5"], [], worlds=[world]),
        synthetic.objectives(["0.5"], ["0.5"], "learned"),
    )
    exact = world.optimum(0.5)
    for kind in ("retrained", "dera"):
        (policy,) = find(found, kind)
        assert close(policy.per_prompt["reward"], world.mean(exact, "learned"))
        assert close(policy.per_prompt["gold"], world.mean(exact, "gold"))
    # 64 samples of the reference seldom hold the rare completion, so the optimum is held to a world without one
    world = synthetic.World(
        np.array([0.5, 0.3, 0.2]),
        {"gold": np.array([0.0, 1.0, -1.0]), "learned": np.array([0.0, 1.0, 2.0])},
        "learned",
    )
    found = from_completions(
        synthetic.completions(["1"], ["1"], [], worlds=[world]),
        synthetic.objectives(["1"], ["1"], "learned"),
    )
    (policy,) = find(found, "optimum")
    assert close(policy.per_prompt["gold"], world.mean(world.optimum(1.0), "gold"))


def test_every_objective_has_a_reference_and_optima_of_its_own(table):
    other = {"dpo": {**OBJECTIVES["rloo"], "reward": "length", "betas": ["2"]}}
    found = from_completions(table, OBJECTIVES | other)
    assert {policy.objective for policy in find(found, "reference")} == {"rloo", "dpo"}
    (reference,) = find(found, "reference", objective="dpo")
    np.testing.assert_array_equal(reference.per_prompt["reward"], reference.per_prompt["length"])
    assert {policy.beta for policy in find(found, "optimum", objective="dpo")} == {Fraction(2)}
    assert {policy.beta for policy in find(found, "optimum", objective="rloo")} == set(
        map(Fraction, BETAS)
    )
    assert {
        policy.objective for policy in found if policy.kind in ("retrained", "dera", "mixture")
    } == {"rloo"}


def test_measures_are_the_columns_that_are_no_labels(table):
    assert set(measures(table)) == {"gold", "length", "repetition", "broken", "fluency"}


def test_equal_weights_have_no_gap_and_full_effective_sample_size(policies):
    for policy in find(policies, "mixture"):
        np.testing.assert_allclose(policy.gap, 0, atol=1e-9)
        assert policy.ess == pytest.approx(16)


def test_a_sampler_that_misses_the_mixture_has_the_gap_of_the_closed_form():
    """Sampler and mixture are both known, so their divergence is; the mean of 200 prompts of 32 samples is allowed 5 standard errors."""

    def off(world, anchor, lam):
        return world.mixture(anchor, 1.2 * lam)

    table = synthetic.completions(
        ["1"], ["1"], ["2"], prompts=200, samples=32, seeds=1, sampler=off
    )
    (policy,) = find(
        from_completions(table, synthetic.objectives(["1"], ["1"], seeds=1)),
        "mixture",
        lam=Fraction(2),
    )
    drawn, wanted = synthetic.LENGTH.mixture(1, 2.4), synthetic.LENGTH.mixture(1, 2)
    assert close(policy.gap, drawn @ np.log(drawn / wanted))
    assert close(policy.per_prompt["gold"], wanted @ synthetic.REWARD)


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
    line = row(find(policies, "mixture", beta=Fraction(1))[0], resamples=200, seed=0)
    for name in ("reward", "gold", "kl", "length", "broken", "fluency", "repetition", "gap"):
        assert line[f"{name}_low"] <= line[name] <= line[f"{name}_high"]
    assert (line["prompts"], line["completions"], line["lam"], line["seed"]) == (
        64,
        64 * 16 * 2,
        1.0,
        "mean",
    )


def test_a_measure_is_averaged_over_the_prompts_it_applies_to():
    worlds = synthetic.requests("harmful")
    table = synthetic.completions(["0.25"], ["0.25"], ["0"], prompts=90, worlds=worlds)
    (policy,) = find(from_completions(table, synthetic.objectives(["0.25"], ["0.25"])), "retrained")
    line = row(policy, resamples=200, seed=0)
    for world, kind in zip(worlds, synthetic.KINDS, strict=True):
        values = policy.per_prompt[f"refused_{kind}"]
        assert np.isfinite(values).sum() == 30
        assert close(values[np.isfinite(values)], world.optimum(0.25)[0])
        assert line[f"refused_{kind}"] == pytest.approx(np.nanmean(values))


def test_win_rates_are_of_every_policy_over_the_rivals_and_of_lam_over_lam(policies):
    rows = list(win_rates(policies, OBJECTIVES, resamples=100, seed=0))
    kinds = {(r["kind"], r["against_kind"]) for r in rows}
    assert kinds == {
        (a, b) for a in ("reference", "retrained", "dera") for b in ("reference", "retrained")
    } | {("dera", "dera")}
    # 1 reference, 3 retrained and every lam against two baselines, and lam against lam
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
def with_rivals():
    return synthetic.completions(BETAS, ["1"], ["0", "1/2", "2"], baselines=BASELINES)


def test_comparators_are_policies_of_their_anchor_seed_and_knob(with_rivals, policies):
    found = from_completions(with_rivals, synthetic.objectives(BETAS, ["1"], best_of=[2, 4]))
    names = {(p.kind, p.knob) for p in found if p.knob is not None}
    assert names == {("weights", Fraction(1, 2)), ("weights", Fraction(2)), ("top-k", Fraction(2)), ("best-of-n", Fraction(2)), ("best-of-n", Fraction(4))}  # fmt: skip
    for seed in ("0", "mean"):
        (far,) = find(found, "weights", seed, knob=Fraction(2))
        assert (far.anchor, far.beta, far.lam) == (Fraction(1), None, None)
        assert far.gold.shape == (64, 16)
        exact = synthetic.LENGTH.mixture(1, 2)
        assert close(far.per_prompt["reward"], exact @ synthetic.REWARD)
        assert close(far.per_prompt["kl"], exact @ np.log(exact / synthetic.REFERENCE))
    assert not find(found, "weights", "1")
    others = [policy for policy in found if policy.knob is None]
    assert [(p.kind, p.seed, p.beta, p.lam) for p in others] == [
        (p.kind, p.seed, p.beta, p.lam) for p in policies
    ]


@pytest.mark.parametrize("n", [2, 8])
def test_the_best_of_n_reaches_the_closed_form(table, n):
    """Two rewards, so that the best of n is the reference with other shares of them; `length` is no reward and follows from the shares."""
    (policy,) = find(
        from_completions(table, synthetic.objectives(BETAS, ["1"], best_of=[n])), "best-of-n"
    )
    good = synthetic.REFERENCE[synthetic.REWARD == 0].sum()
    best = (
        np.where(synthetic.REWARD == 0, (1 - (1 - good) ** n) / good, (1 - good) ** (n - 1))
        * synthetic.REFERENCE
    )
    assert best.sum() == pytest.approx(1)
    for quantity in ("reward", "gold", "length"):
        assert close(
            policy.per_prompt[quantity],
            best @ (synthetic.LENGTHS if quantity == "length" else synthetic.REWARD),
        )
    assert close(policy.per_prompt["kl"], best @ np.log(best / synthetic.REFERENCE))
    assert (policy.seed, policy.knob, policy.gold) == ("mean", n, None)
    assert policy.ess < 64


def test_tables_name_the_knob_and_tell_comparators_apart(with_rivals):
    found = from_completions(with_rivals, synthetic.objectives(BETAS, ["1"], best_of=[2]))
    knobs = {
        (line["kind"], line["knob"])
        for line in (row(policy, resamples=100, seed=0) for policy in found)
    }
    assert {("weights", 0.5), ("top-k", 2.0), ("best-of-n", 2.0), ("dera", None)} <= knobs
    lengths = length_distributions(with_rivals)
    shares = lengths.groupby(["policy", "adapter_beta", "lam", "method", "knob"], dropna=False)[
        "share"
    ].sum()
    np.testing.assert_allclose(shares, 1)
    assert len(shares) == 1 + 3 + 6 + 3
    assert set(lengths["knob"].dropna()) == {0.5, 2}
    kinds = {line["kind"] for line in win_rates(found, OBJECTIVES, resamples=100, seed=0)}
    assert kinds == {"reference", "retrained", "dera"}


def test_length_shares_sum_to_one(table):
    shares = (
        length_distributions(table)
        .groupby(["policy", "adapter_beta", "lam"], dropna=False)["share"]
        .sum()
    )
    np.testing.assert_allclose(shares, 1)
    assert len(shares) == 1 + 3 + 6
