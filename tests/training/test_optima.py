"""What the objectives say of their optima is true.

Their losses are minimised over all policies of a few completions, in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
UTILITY = np.array([0.0, 1.0, -0.5, 2.0])
TOKENS = np.array([3.0, 5.0, 2.0, 8.0])
PREFERRED = special.expit(UTILITY[:, None] - UTILITY[None, :])
PAIR = REFERENCE[:, None] * REFERENCE[None, :]


def best(loss) -> np.ndarray:
    """log(pi / pi_ref) of the policy that minimises the loss."""

    def log_ratio(logits):
        return special.log_softmax(logits) - np.log(REFERENCE)

    minimum = optimize.minimize(
        lambda logits: loss(log_ratio(logits)),
        x0=np.log(REFERENCE),
        method="BFGS",
        options={"gtol": 1e-10, "maxiter": 10_000},
    )
    return log_ratio(minimum.x)


def expected(loss_of_difference, score) -> float:
    """The expected loss of pairs drawn from the reference and labelled as PREFERRED says."""
    losses = loss_of_difference(score[:, None] - score[None, :])
    return float((PAIR * PREFERRED * losses).sum())


def mixed(h: np.ndarray, lam: float) -> np.ndarray:
    """Proposition 1: log(pi / pi_ref) of the geometric mixture."""
    return lam * h - special.logsumexp(lam * h, b=REFERENCE)


def logistic(b):
    return lambda h: expected(lambda d: -np.log(special.expit(b * d)), h)


def squared(tau):
    return lambda h: expected(lambda d: (d - 1 / (2 * tau)) ** 2, h)


def smooth_hinge(b):
    """A hinge without its corner, which a gradient method cannot deal with.

    Every function of b * d has the property that is tested.
    """
    return lambda h: expected(lambda d: np.logaddexp(0, 8 * (1 - b * d)) / 8, h)


@pytest.mark.parametrize("family", [logistic, squared, smooth_hinge])
def test_the_optima_of_losses_of_differences_are_geometric_mixtures_of_one_another(family):
    aligned = best(family(0.5))
    retrained = best(family(1.0))
    np.testing.assert_allclose(mixed(aligned, 0.5), retrained, atol=1e-4)


def test_the_optimum_of_trls_ipo_is_the_one_described_and_no_such_mixture():
    def ipo(tau):
        return lambda h: expected(lambda d: (d - 1 / (2 * tau)) ** 2, h / TOKENS)

    tau = 2.0
    preference = (PREFERRED * REFERENCE[None, :]).sum(1)
    c = optimize.brentq(
        lambda c: special.logsumexp(TOKENS * (preference + c) / tau, b=REFERENCE), -5, 5
    )
    np.testing.assert_allclose(best(ipo(tau)), TOKENS * (preference + c) / tau, atol=1e-4)
    difference = mixed(best(ipo(tau)), 0.5) - best(ipo(2 * tau))
    assert np.abs(difference).max() > 0.01


def test_ipo_means_rloos_beta_where_the_labeller_hardly_prefers_either():
    """With tau = sharpness * beta * tokens / 4 the optimum is exp(r / beta), to first order.

    All completions have one length here.
    """
    sharpness, beta, tokens = 0.01, 1.5, 7.0
    reward = UTILITY
    labels = special.expit(sharpness * (reward[:, None] - reward[None, :]))
    tau = sharpness * beta * tokens / 4

    def loss(h):
        d = (h[:, None] - h[None, :]) / tokens
        return float((PAIR * labels * (d - 1 / (2 * tau)) ** 2).sum()) * tau**2

    np.testing.assert_allclose(best(loss), mixed(reward / beta, 1.0), atol=0.01)


@pytest.mark.parametrize("z", [0.0, 0.7])
@pytest.mark.parametrize("b", [0.25, 1.0, 4.0])
def test_kto_pushes_out_what_is_rejected_more_often_than_chosen_at_every_beta(z, b):
    """One of two completions is desirable 7 times in 10, and the other 3 times in 10.

    The value of z is fixed, because no gradient goes through it.
    """
    reference = np.array([0.6, 0.4])
    desirable = np.array([0.7, 0.3])
    losses = []
    for log_share in np.linspace(-1, -20, 30):
        share = np.exp(log_share)
        policy = np.array([1 - share, share])
        advantage = b * (np.log(policy / reference) - z)
        loss_if_desirable = special.expit(-advantage)
        loss_if_not = special.expit(advantage)
        loss = desirable * loss_if_desirable + (1 - desirable) * loss_if_not
        losses.append((reference * loss).sum())
    assert (np.diff(losses) < 0).all()
