"""Verdicts: a study that agrees is reproduced, one that does not is not, and nothing is decided without evidence."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, Evidence, agreement, cost, identities, transition, verdict
from eval.decide import front_page
from eval.policies import from_completions
from tests.eval import synthetic

BETAS = ["0.25", "0.5", "1", "2"]
STATISTICS = {"bootstrap_resamples": 300, "reward_margin": 0.1, "rank_correlation": 0.9}


def evidence(lams=("0", "1/4", "1/2", "3/4", "1"), **more) -> Evidence:
    table = synthetic.completions(BETAS, ["0.25"], list(lams), prompts=200, **more)
    return Evidence(
        policies=from_completions(table, map(Fraction, BETAS)),
        statistics=STATISTICS,
        seed=0,
        training_seconds={"rloo": {"seconds a run": 100.0, "runs per seed": 4}},
        sampling_seconds={"rloo": {"dera": 20.0, "retrained": 10.0}},
        reference=Path(),
        anchor=Path(),
        prompts=[],
    )


def test_agreement_is_reproduced_where_retrained_models_reach_the_optimum():
    _, claim = agreement.decide(evidence())
    assert claim.verdict == REPRODUCED
    assert claim.evidence["rank correlation"] == pytest.approx(1)
    assert [row["lam"] for row in claim.evidence["by beta"]] == ["1/8", "1/4", "1/2"]


def test_agreement_fails_and_training_is_blamed_where_training_missed_its_optimum():
    _, claim = agreement.decide(evidence(retrained_at=0.3))
    assert claim.verdict != REPRODUCED
    for row in claim.evidence["by beta"]:
        training, anchor, approximation = (row[name]["value"] for name in ("training", "anchor", "approximation"))
        assert row["difference"]["value"] == pytest.approx(training + anchor + approximation, abs=1e-9)
        assert abs(training) > 3 * max(abs(anchor), abs(approximation))


def test_training_that_missed_its_optimum_is_said_so_even_where_dera_agrees():
    assert agreement.decide(evidence())[0].verdict == REPRODUCED
    assert agreement.decide(evidence(retrained_at=0.3))[0].verdict != REPRODUCED


def test_a_beta_where_the_reference_would_pass_is_not_counted():
    found = evidence()
    for policy in found.policies:
        if policy.beta == Fraction(2) and policy.kind != "optimum":
            policy.per_prompt["reward"][:] = [p for p in found.policies if p.kind == "reference"][0].per_prompt["reward"]
    _, claim = agreement.decide(found)
    assert [row["informative"] for row in claim.evidence["by beta"]][0] is False
    assert claim.evidence["equivalent at"] == "2 of 2 informative beta"


def test_transition_needs_a_grid_and_finds_a_jump():
    assert transition.decide(evidence())[0].verdict == REPRODUCED
    assert transition.decide(evidence(lams=("0", "1")))[0].verdict == UNTESTED
    found = evidence()
    for policy in found.policies:
        if policy.kind == "dera":
            policy.per_prompt["reward"][:] = 0.0 if policy.lam > Fraction(1, 2) else -1.0
    assert transition.decide(found)[0].verdict == PARTLY


def test_cost_compares_seconds():
    (claim,) = cost.decide(evidence())
    assert claim.verdict == REPRODUCED
    assert claim.evidence["ratio"] == pytest.approx((3 * 100 + 3 * 10) / (3 * 20))


@pytest.mark.parametrize(("passed", "of", "expected"), [(3, 3, REPRODUCED), (2, 4, PARTLY), (1, 3, FAILED), (0, 0, UNTESTED)])
def test_verdicts_follow_from_counts(passed, of, expected):
    assert verdict(passed, of) == expected


def test_the_exact_identity_holds_and_breaks_when_the_aligned_model_is_not_the_optimum(monkeypatch):
    rng, exact, calls = np.random.default_rng(0), np.exp, []
    assert identities.enumerated_identity_error(rng, beta=0.5, lam=1.5) < 1e-12

    def wrong_for_the_aligned_model(x):  # the first exponential of two makes the aligned model, the second the optimum
        calls.append(x)
        return exact(0.9 * x if len(calls) == 1 else x)

    monkeypatch.setattr(np, "exp", wrong_for_the_aligned_model)
    assert identities.enumerated_identity_error(rng, beta=0.5, lam=1.5) > 1e-4
    assert len(calls) == 2


def test_the_front_page_prints_failures_as_failures():
    page = front_page("paper", agreement.decide(evidence(retrained_at=0.1)))
    assert "**not reproduced**" in page
    assert "| beta | lam | retrained | DeRa | difference |" in page
