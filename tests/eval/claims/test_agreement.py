"""Agreement of DeRa with retrained models, and what is blamed where there is none."""

from fractions import Fraction

import numpy as np
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, Claim, agreement, convergence
from eval.policies import find
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS, trained_far_too_hard, verdicts
from tests.eval.synthetic import World, evidence


def convergence_and_agreement(evidence) -> tuple[Claim, Claim]:
    """The two claims of the one objective, where it has one anchor."""
    [converged] = convergence.decide(evidence)
    [agrees] = agreement.decide(evidence)
    return converged, agrees


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
