"""The distance of a trained model to the optimum, in nats, against the closed form."""

from fractions import Fraction

import numpy as np
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, convergence
from tests.eval import synthetic
from tests.eval.claims.wrong import BETAS, trained_far_too_hard
from tests.eval.synthetic import evidence


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.0, 2.0])
def test_the_distance_to_the_optimum_is_the_kl_of_the_closed_form(scale):
    """The mean over 200 prompts of five seeds lies within five standard errors."""

    def trained(world, beta):
        return world.optimum(scale * beta)

    known = evidence(["0.5", "1"], "0.5", retrained=trained, prompts=200)
    for beta in ("0.5", "1"):
        (retrained,) = known.find("retrained", "rloo", beta=Fraction(beta))
        (optimum,) = known.find("optimum", "rloo", beta=Fraction(beta))
        model = synthetic.LENGTH.optimum(scale * float(beta))
        exact = float(model @ np.log(model / synthetic.LENGTH.optimum(float(beta))))
        measured = convergence.nats_to_optimum(retrained, optimum)
        assert abs(measured.value - exact) < 5 * measured.error


def test_training_that_reaches_the_optimum_has_converged():
    (claim,) = convergence.decide(evidence(["0.25", "0.5", "1"], "0.5", prompts=256))
    assert claim.verdict == REPRODUCED
    assert claim.part == "premise"


def test_training_that_goes_far_beyond_the_optimum_has_not():
    known = evidence(BETAS, "0.5", retrained=trained_far_too_hard)
    (claim,) = convergence.decide(known)
    assert claim.verdict == FAILED
    assert not convergence.converged(known, "rloo", Fraction("0.5"))


@pytest.mark.parametrize("beta", ["1", "2", "5", "20"])
def test_an_untrained_model_has_never_converged(beta):
    """Not even where the optimum itself is so close to the reference that hardly anything moves."""

    def untrained(world, beta):
        return world.reference

    known = evidence([beta], beta, retrained=untrained, prompts=256)
    optimum = synthetic.LENGTH.optimum(float(beta))
    to_reference = float(optimum @ np.log(optimum / synthetic.LENGTH.reference))
    assert (to_reference < convergence.MAX_NATS) == (float(beta) > 1)
    assert not convergence.converged(known, "rloo", Fraction(beta))


def test_an_optimum_that_the_samples_do_not_reach_says_nothing():
    known = evidence(["0.01"], "0.01", worlds=[synthetic.LADDER], samples=2)
    (claim,) = convergence.decide(known)
    assert claim.verdict == UNTESTED
    assert [row["converged"] for row in claim.evidence["by beta"]] == ["-"]
    assert convergence.usable_optimum(known, "rloo", Fraction("0.01")) is None
