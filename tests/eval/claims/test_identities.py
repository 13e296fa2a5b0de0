"""The exact identity holds, and breaks where it should."""

import numpy as np

from eval.claims import FAILED, REPRODUCED, identities


def test_the_exact_identity_holds_and_breaks_when_the_aligned_model_is_not_the_optimum(monkeypatch):
    rng = np.random.default_rng(0)
    exact = np.exp
    calls = []
    assert identities.enumerated_identity_error(rng, beta=0.5, lam=1.5) < 1e-6
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
