"""Verdicts on studies made on paper.

A claim that is true there is reproduced, one that is false is not, and without evidence none is
decided.
"""

import dataclasses
import itertools
import json
from fractions import Fraction

import numpy as np
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
    cost,
    hacking,
    hallucination,
    identities,
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
from eval.policies import find, from_completions
from tests.eval import synthetic
from tests.eval.synthetic import World, evidence

BETAS = ["0.25", "0.5", "1", "2"]
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


def stuck(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that is the reference at every lam."""
    return world.reference


def zigzag(world: World, anchor: float, lam: float) -> np.ndarray:
    """A decoder that jumps between the reference and the aligned model."""
    return world.optimum(anchor) if lam in (0.25, 0.75) else world.reference


def backwards(world: World, anchor: float, lam: float) -> np.ndarray:
    return world.mixture(anchor, 1 - lam)


def trained_far_too_hard(world: World, beta: float) -> np.ndarray:
    return world.optimum(0.3 * beta)


def verdicts(claims) -> list[str]:
    return [claim.verdict for claim in claims]


def convergence_and_agreement(evidence) -> tuple[Claim, Claim]:
    """The two claims of the one objective, where it has one anchor."""
    [converged] = convergence.decide(evidence)
    [agrees] = agreement.decide(evidence)
    return converged, agrees


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


# agreement and convergence


def test_agreement_is_reproduced_where_retrained_models_reach_the_optimum():
    converged, claim = convergence_and_agreement(evidence(BETAS, "0.25"))
    assert verdicts([converged, claim]) == [REPRODUCED, REPRODUCED]
    assert claim.evidence["rank correlation"] == pytest.approx(1)
    assert [row["lam"] for row in claim.evidence["by beta"]] == ["1/8", "1/4", "1/2"]


def test_agreement_fails_and_training_is_blamed_where_training_missed_its_optimum():
    converged, claim = convergence_and_agreement(
        evidence(BETAS, "0.25", retrained=trained_far_too_hard)
    )
    assert claim.verdict != REPRODUCED
    assert converged.verdict != REPRODUCED
    for row in claim.evidence["by beta"]:
        training = row["training"]["value"]
        anchor = row["anchor"]["value"]
        approximation = row["approximation"]["value"]
        assert row["difference"]["value"] == pytest.approx(
            training + anchor + approximation, abs=1e-9
        )
        assert abs(training) > 3 * max(abs(anchor), abs(approximation))


def test_agreement_fails_and_the_approximation_is_blamed_where_the_sampler_is_off():
    def timid(world: World, anchor: float, lam: float) -> np.ndarray:
        # not so far that nothing can be reweighted
        return world.mixture(anchor, lam / 3)

    converged, claim = convergence_and_agreement(evidence(BETAS, "0.25", sampler=timid))
    assert converged.verdict == REPRODUCED
    assert claim.verdict == FAILED
    for row in claim.evidence["by beta"]:
        training = row["training"]["value"]
        anchor = row["anchor"]["value"]
        approximation = row["approximation"]["value"]
        assert abs(approximation) > 3 * max(abs(training), abs(anchor))


def test_a_beta_where_the_reference_would_pass_is_not_counted():
    known = evidence(BETAS, "0.25")
    (reference,) = find(known.policies, "reference")
    for policy in known.policies:
        if policy.beta == Fraction(2) and policy.kind != "optimum":
            policy.per_prompt["reward"][:] = reference.per_prompt["reward"]
    [claim] = agreement.decide(known)
    assert [row["informative"] for row in claim.evidence["by beta"]] == [False, True, True]
    assert "at 2 of 2 informative beta" in claim.headline


def test_agreement_is_not_tested_without_another_strength_nor_convergence_without_samples():
    [claim] = agreement.decide(evidence(["1"], "1"))
    assert claim.verdict == UNTESTED
    # at this beta few of the reference's samples count, so nothing can be said of training
    [converged] = convergence.decide(
        evidence(["0.01"], "0.01", worlds=[synthetic.LADDER], samples=2)
    )
    assert converged.verdict == UNTESTED
    assert [row["decides"] for row in converged.evidence["by beta"]] == [False]


# transition


@pytest.mark.parametrize(
    ("lams", "sampler", "expected"),
    [
        (("0", "1/4", "1/2", "3/4", "1"), World.mixture, REPRODUCED),
        (("0", "1/4", "1/2", "3/4", "1"), backwards, PARTLY),  # smooth, and the wrong way
        (("0", "1/4", "1/2", "3/4", "1"), zigzag, FAILED),
        (("0", "1/2", "1"), World.mixture, UNTESTED),
        (("1/4", "1/2", "3/4"), World.mixture, UNTESTED),  # without an end
    ],
)
def test_transition_needs_a_grid_and_finds_jumps(lams, sampler, expected):
    (claim,) = transition.decide(evidence(["0.25"], "0.25", lams, sampler=sampler))
    assert claim.verdict == expected


def test_a_jump_between_two_halves_is_no_smooth_transition():
    def step(world: World, anchor: float, lam: float) -> np.ndarray:
        return world.mixture(anchor, round(lam) + 0.04 * lam)  # strictly monotone all the same

    (claim,) = transition.decide(evidence(["0.25"], "0.25", prompts=400, sampler=step))
    assert claim.verdict in (PARTLY, FAILED)
    assert claim.evidence["reward"]["largest step"] > 0.9


# strength: what wins how often is enumerated in test_win_rates.py


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
    found = evidence(
        ["0.5", "4"], "4", worlds=[synthetic.HACKED], retrained=lambda world, beta: world.reference
    )
    policies = []
    for policy in found.policies:
        if policy.kind == "dera":
            policies.append(
                dataclasses.replace(policy, gold=np.where(np.arange(200) < 100, 2.0, -2.0)[:, None])
            )
        else:
            policies.append(policy)
    better, highest = strength.decide(dataclasses.replace(found, policies=policies))
    assert verdicts([better, highest]) == [FAILED, FAILED]
    assert better.evidence["win rate of DeRa"]["value"] == 0


def test_strength_is_not_asked_without_another_strength_nor_where_gold_is_maximised():
    assert strength.decide(evidence(["4"], "4", worlds=[synthetic.HACKED])) == []
    assert strength.decide(evidence(BETAS, "0.25")) == []


# hacking


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


# hallucination

INVENTING = dict(betas=["0.25", "0.5", "1"], anchor="0.25", worlds=[synthetic.INVENTING])


def test_hallucination_falls_as_the_closed_form_says():
    (claim,) = hallucination.decide(evidence(**INVENTING))
    world = synthetic.INVENTING
    assert claim.verdict == REPRODUCED
    truth = [world.mean(world.mixture(0.25, lam), "hallucinated") for lam in claim.evidence["lams"]]
    np.testing.assert_allclose(
        claim.evidence["hallucination"]["values"], truth, atol=0.05
    )  # five standard errors
    costs = claim.evidence["cost: coverage, lam = 1 minus lam = 0"]
    assert costs["value"] == pytest.approx(
        world.mean(world.optimum(0.25), "coverage") - world.mean(world.reference, "coverage"),
        abs=0.04,
    )
    assert [row["lam"] for row in claim.evidence["by beta"]] == ["1/4", "1/2"]


def test_hallucination_that_no_lam_changes_is_not_reproduced():
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=stuck))
    assert claim.verdict == FAILED


def test_hallucination_that_rises_with_lam_is_not_reproduced():
    """It is smooth, and right at the one strength half way; three of five conditions fail."""
    (claim,) = hallucination.decide(evidence(**INVENTING, sampler=backwards))
    assert claim.verdict == FAILED
    assert [row["within the margin"] for row in claim.evidence["by beta"]] == [False, True]


def test_hallucination_that_retraining_lowers_further_is_reproduced_partly():
    (claim,) = hallucination.decide(evidence(**INVENTING, retrained=trained_far_too_hard))
    assert claim.verdict == PARTLY
    assert [row["within the margin"] for row in claim.evidence["by beta"]] == [False, False]


def test_hallucination_is_not_tested_on_a_coarse_grid_nor_on_other_tasks():
    (claim,) = hallucination.decide(
        evidence(["0.25"], "0.25", ["0", "1"], worlds=[synthetic.INVENTING])
    )
    assert claim.verdict == UNTESTED
    assert hallucination.decide(evidence(["0.25"], "0.25")) == []


# safety

REQUESTS = dict(
    betas=["0.25"], anchor="0.25", lams=["0", "1/4", "1/2", "3/4", "1", "2"], prompts=300
)


def test_refusals_can_be_dialled_where_refusing_the_harmful_alone_pays():
    dialled, beyond = safety.decide(evidence(**REQUESTS, worlds=synthetic.requests("harmful")))
    assert verdicts([dialled, beyond]) == [REPRODUCED, REPRODUCED]
    harmful, alike, _ = synthetic.requests("harmful")
    # 100 prompts of 32 completions of each kind: five standard errors are below 0.05
    for rates in beyond.evidence["by lam"]:
        assert rates["refused_harmful"] == pytest.approx(
            harmful.mixture(0.25, rates["lam"])[0], abs=0.05
        )
        assert rates["refused_alike"] == pytest.approx(
            alike.mixture(0.25, rates["lam"])[0], abs=0.05
        )


def test_a_model_that_cannot_tell_the_alike_from_the_harmful_over_refuses():
    dialled, beyond = safety.decide(
        evidence(**REQUESTS, worlds=synthetic.requests("harmful", "alike"))
    )
    assert verdicts([dialled, beyond]) == [PARTLY, PARTLY]


def test_refusals_that_no_lam_changes_are_not_reproduced():
    assert verdicts(
        safety.decide(evidence(**REQUESTS, worlds=synthetic.requests("harmful"), sampler=stuck))
    ) == [FAILED, FAILED]


def test_safety_is_not_tested_on_a_coarse_grid_nor_on_other_tasks():
    coarse = {**REQUESTS, "lams": ["0", "1", "4"]}
    assert verdicts(safety.decide(evidence(**coarse, worlds=synthetic.requests("harmful")))) == [
        UNTESTED,
        UNTESTED,
    ]
    assert safety.decide(evidence(["0.25"], "0.25")) == []


# breakdown

OUTSIDE = ["-4", "-2", "-1", "0", "1/2", "1", "2", "4", "6"]
NUMBERS = [float(Fraction(lam)) for lam in OUTSIDE]


def broken(lam: float) -> float:
    return synthetic.FRAGILE.mean(synthetic.FRAGILE.mixture(1, lam), "broken")


def test_text_breaks_down_where_the_closed_form_says():
    claim, _ = breakdown.decide(evidence(["1"], "1", OUTSIDE, worlds=[synthetic.FRAGILE]))
    breaks = [lam for lam in NUMBERS if broken(lam) > max(broken(0), broken(1)) + 0.15]
    holds = [lam for lam in NUMBERS if broken(lam) < max(broken(0), broken(1)) + 0.05]
    # at 2 it is a near thing, which intervals may decide
    assert set(breaks) | set(holds) == set(NUMBERS) - {2.0}
    assert claim.verdict == REPRODUCED
    assert claim.evidence["breaks below 0 at"] == max(lam for lam in breaks if lam < 0) == -2
    assert claim.evidence["breaks above 1 at"] in (2, 4)
    for row in claim.evidence["by lam"]:
        assert row["broken"] == pytest.approx(broken(row["lam"]), abs=0.05)


def test_text_that_stays_whole_does_not_break_down():
    claim, foreseen = breakdown.decide(evidence(["1"], "1", OUTSIDE, worlds=[synthetic.LENGTH]))
    assert claim.verdict == FAILED
    assert foreseen.verdict == UNTESTED  # nothing broke, so nothing could be foreseen


def gap_and_broken(sampler: synthetic.Sampler, lam: float) -> tuple[float, float]:
    """KL(sampler || mixture) and the share broken, both from the closed form."""
    drawn, mixture = sampler(synthetic.FRAGILE, 1.0, lam), synthetic.FRAGILE.mixture(1, lam)
    return float(drawn @ np.log(drawn / mixture)), synthetic.FRAGILE.mean(drawn, "broken")


def test_the_gap_foresees_where_it_grows_as_text_breaks():
    def worse_where_it_breaks(world: World, anchor: float, lam: float) -> np.ndarray:
        share = {-1: 0.1, 2: 0.2, -2: 0.4, 4: 0.4}.get(lam, 0.0)
        return (1 - share) * world.mixture(anchor, lam) + share * world.reference

    known = [gap_and_broken(worse_where_it_breaks, lam) for lam in (-1, 2, -2, 4)]
    assert known == sorted(known)
    assert [share for _, share in known] == sorted(share for _, share in known)
    lams = ["-2", "-1", "0", "1/2", "1", "2", "4"]
    claim = breakdown.decide(
        evidence(["1"], "1", lams, 400, worlds=[synthetic.FRAGILE], sampler=worse_where_it_breaks)
    )[1]
    assert claim.verdict == REPRODUCED
    assert claim.evidence == {"Spearman": pytest.approx(1), "lams": [-2, -1, 2, 4]}


def test_a_gap_where_text_is_whole_and_none_where_it_breaks_foresees_nothing():
    def worse_near_by(world: World, anchor: float, lam: float) -> np.ndarray:
        share = 0.5 if lam in (-1, 2) else 0.0
        return (1 - share) * world.mixture(anchor, lam) + share * world.reference

    claim = breakdown.decide(
        evidence(["1"], "1", OUTSIDE, worlds=[synthetic.FRAGILE], sampler=worse_near_by)
    )[1]
    assert claim.verdict == FAILED


def test_breakdown_is_not_tested_on_a_grid_that_stays_inside():
    assert verdicts(
        breakdown.decide(evidence(["1"], "1", ["0", "1/2", "1"], worlds=[synthetic.FRAGILE]))
    ) == [UNTESTED, UNTESTED]


# baselines

PATH = dict(betas=["0.25"], anchor="0.25", lams=["0", "1/4", "1/2", "3/4", "1", "2"])


def wasteful(world: World, anchor: float, knob: float) -> np.ndarray:
    """Away from the reference, and to no reward."""
    weights = world.reference * np.where(world.all_measures()["length"] == 20, 1 + knob, 1)
    return weights / weights.sum()


def against(kind: str, knobs: list[str], baseline: synthetic.Sampler, **more):
    [claim] = baselines.decide(evidence(**{**PATH, **more}, baselines={kind: (knobs, baseline)}))
    return claim


def test_a_baseline_on_the_same_frontier_ties():
    """Between two lams the chord lies below the concave frontier, here by less than 0.02."""
    claim = against("weights", ["1/4", "0.6", "3/2"], World.mixture)
    assert claim.verdict == REPRODUCED
    rows = claim.evidence["by knob"]
    assert [(row["knob"], row["passes"]) for row in rows] == [(0.25, 1), (0.6, 1), (1.5, 1)]
    for row in rows:
        exact = synthetic.LENGTH.mixture(0.25, row["knob"])
        assert row["KL"] == pytest.approx(exact @ np.log(exact / synthetic.REFERENCE), abs=0.05)
        assert row["reward"] == pytest.approx(exact @ synthetic.REWARD, abs=0.05)
        assert abs(row["difference"]["value"]) < 0.04
        assert row["difference"]["low"] - 0.01 < 0 < row["difference"]["high"] + 0.03


def test_the_interval_of_a_tie_holds_nothing_about_as_often_as_it_says():
    """At a lam that DeRa decoded there is no chord.

    38 of 40 studies should hold 0, and 31 is five standard errors less.
    """
    held = 0
    for seed in range(40):
        found = evidence(
            **PATH,
            prompts=40,
            samples=4,
            seeds=1,
            baselines={"weights": (["1/2"], World.mixture)},
            rng=seed,
        )
        [claim] = baselines.decide(found)
        difference = claim.evidence["by knob"][0]["difference"]
        held += difference["low"] <= 0 <= difference["high"]
    assert held >= 31


def test_a_baseline_that_wastes_its_distance_is_beaten():
    claim = against("temperature", ["1", "2"], wasteful)
    assert claim.verdict == REPRODUCED
    assert all(
        row["difference"]["low"] > 0 and row["DeRa loses"] is False
        for row in claim.evidence["by knob"]
    )
    assert "DeRa loses at 0 of 2 knobs" in claim.headline


def test_where_dera_wastes_its_distance_the_baseline_wins():
    claim = against(
        "probabilities",
        ["1/4", "1/2"],
        World.mixture,
        sampler=lambda w, a, lam: wasteful(w, a, 20 * lam),
    )
    assert claim.verdict == FAILED
    rows = claim.evidence["by knob"]
    assert all(row["DeRa loses"] and row["passes"] == 2 for row in rows)
    worst = min(rows, key=lambda row: row["difference"]["value"])
    assert f"{worst['difference']['value']:+.3f}" in claim.headline
    assert f"at share of the aligned model = {worst['knob']:g}" in claim.headline


def test_a_baseline_that_wins_at_one_of_two_knobs_leaves_the_claim_partly_reproduced():
    claim = against(
        "weights",
        ["1/2", "1"],
        World.mixture,
        sampler=lambda w, a, lam: w.mixture(a, lam) if lam < 1 else wasteful(w, a, 99),
    )
    assert claim.verdict == PARTLY
    assert [row["DeRa loses"] for row in claim.evidence["by knob"]] == [False, True]


def test_dera_is_compared_with_its_own_seed():
    found = evidence(**PATH, baselines={"weights": (["1/2"], World.mixture)})
    for policy in found.policies:
        if policy.kind == "dera" and policy.seed != "0":
            policy.per_prompt["reward"][:] = -9
    assert verdicts(baselines.decide(found)) == [REPRODUCED]


def test_a_baseline_beyond_deras_reach_is_not_compared():
    both = against("weights", ["1/2", "8"], World.mixture, lams=["0", "1/2", "1"])
    assert [row["DeRa loses"] for row in both.evidence["by knob"]] == [False, None]
    assert against("weights", ["8"], World.mixture, lams=["1/2", "1"]).verdict == UNTESTED
    # a DeRa that never leaves the reference reaches nothing
    assert against("weights", ["8"], World.mixture, sampler=stuck).verdict == UNTESTED


#: Few good completions and few better ones: among two there is seldom one of these.
UNEVEN = World(np.array([0.9, 0.05, 0.05]), {"gold": np.array([0.0, 1.0, 5.0])})


def test_the_best_of_two_ties_where_there_are_two_rewards_and_loses_where_its_taste_is_too_broad():
    """With two rewards any preference is an optimum at some beta.

    With three rewards the best of two is not the optimum at any beta.
    """
    best, price = baselines.decide(evidence(**PATH, reweighted={"best_of_n": [2, 4]}))
    assert verdicts([best, price]) == [REPRODUCED, FAILED]
    assert [(row["knob"], row["passes"]) for row in best.evidence["by knob"]] == [(2, 2), (4, 4)]
    assert abs(price.evidence["difference"]["value"]) < 0.04
    chosen = dict(
        betas=["4"],
        anchor="4",
        lams=["0", "1/2", "1", "2"],
        worlds=[UNEVEN],
        prompts=400,
        samples=32,
        reweighted={"best_of_n": [2]},
    )
    best, price = baselines.decide(evidence(**chosen))
    assert verdicts([best, price]) == [REPRODUCED, REPRODUCED]
    assert price.evidence["KL"] == pytest.approx(0.0367, abs=0.005)
    assert price.evidence["reward"] == pytest.approx(0.58, abs=0.03)


def test_the_price_is_not_compared_without_a_best_of_two_nor_anything_without_baselines():
    assert (
        verdicts(baselines.decide(evidence(**PATH, reweighted={"best_of_n": [4]})))[1] == UNTESTED
    )
    assert baselines.decide(evidence(**PATH)) == []


# cost

BYTES = {"model bytes": 100.0, "pair bytes": 200.0, "adapter bytes": 5.0}


def costs(dera: float | None = 20.0, runs: int = 4, pair: float = 200.0):
    seconds = {
        "retrained": 10.0,
        **({} if dera is None else {"dera": dera}),
        **BYTES,
        "pair bytes": pair,
    }
    return cost.decide(
        dataclasses.replace(
            evidence(["1"], "1", prompts=4),
            training_seconds={"rloo": {"seconds a run": 100.0, "runs per seed": runs}},
            sampling_seconds={"rloo": seconds},
        )
    )


def test_cost_compares_seconds_and_bytes():
    saves, price = costs()
    assert verdicts([saves, price]) == [REPRODUCED, REPRODUCED]
    assert saves.evidence["seconds of DeRa"] == 3 * 20
    assert saves.evidence["seconds of retraining"] == 3 * 100 + 3 * 10
    assert price.evidence["decoding time, DeRa against one model"] == 2
    assert price.evidence["parameters, one model and an adapter against one"] == pytest.approx(1.05)


def test_decoding_dearer_than_training_saves_nothing():
    saves, price = costs(dera=111.0)
    assert verdicts([saves, price]) == [FAILED, PARTLY]  # the memory is as claimed
    assert verdicts(costs(dera=111.0, pair=300.0)) == [FAILED, FAILED]


def test_cost_is_not_tested_without_dera_or_without_another_strength():
    assert verdicts(costs(dera=None)) == [UNTESTED]
    assert costs(runs=1)[0].verdict == UNTESTED


# identities


def test_the_exact_identity_holds_and_breaks_when_the_aligned_model_is_not_the_optimum(monkeypatch):
    rng = np.random.default_rng(0)
    exact = np.exp
    calls = []
    assert identities.enumerated_identity_error(rng, beta=0.5, lam=1.5) < 1e-12
    assert identities.exact(0).verdict == REPRODUCED

    def wrong_for_the_aligned_model(x):
        # the first exponential of two makes the aligned model, the second the optimum
        calls.append(x)
        return exact(0.9 * x if len(calls) % 2 else x)

    monkeypatch.setattr(np, "exp", wrong_for_the_aligned_model)
    assert identities.enumerated_identity_error(rng, beta=0.5, lam=1.5) > 1e-4
    assert len(calls) == 2
    claim = identities.exact(0)
    assert claim.verdict == FAILED
    assert claim.must_hold


# every claim


@pytest.mark.parametrize(
    "world", ["LENGTH", "HACKED", "INVENTING", "FRAGILE", "HOPELESS", "requests"]
)
@pytest.mark.parametrize("sampler", [World.mixture, stuck])
def test_every_claim_says_what_it_tests_and_can_be_written_as_json(world, sampler):
    worlds = synthetic.requests("harmful") if world == "requests" else [getattr(synthetic, world)]
    found = evidence(
        ["0.25", "0.5", "1"], "0.5", OUTSIDE, prompts=60, worlds=worlds, sampler=sampler
    )
    claims = [claim for module in MODULES for claim in module.decide(found)]
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
