"""Where text stays whole, and whether the approximation gap adds to what lam and KL say."""

from fractions import Fraction

import numpy as np
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, breakdown
from eval.claims.checks import Outcome
from tests.eval import synthetic
from tests.eval.claims.wrong import OUTSIDE, verdicts
from tests.eval.synthetic import World, evidence

NUMBERS = [float(Fraction(lam)) for lam in OUTSIDE]


def broken(lam: float) -> float:
    return synthetic.FRAGILE.mean(synthetic.FRAGILE.mixture(1, lam), "broken")


def test_text_breaks_where_the_closed_form_says():
    above, below, _ = breakdown.decide(evidence(["1"], "1", OUTSIDE, worlds=[synthetic.FRAGILE]))
    assert verdicts([above, below]) == [FAILED, FAILED]
    breaks = [lam for lam in NUMBERS if broken(lam) > max(broken(0), broken(1)) + 0.1]
    first_above = min(lam for lam in breaks if lam > 1)
    first_below = max(lam for lam in breaks if lam < 0)
    assert f"The text breaks from lam = {first_above:g} on." in above.headline
    assert f"The text breaks from lam = {first_below:g} on." in below.headline
    for row in above.evidence["by lam"]:
        assert row["broken"] == pytest.approx(broken(row["lam"]), abs=0.05)


def test_text_that_stays_whole_is_reproduced_on_both_sides():
    claims = breakdown.decide(evidence(["1"], "1", OUTSIDE, worlds=[synthetic.LENGTH]))
    assert verdicts(claims) == [REPRODUCED, REPRODUCED, UNTESTED]  # nothing broke to foresee


#: Many lams outside [0, 1], so that a correlation can hold two other numbers fixed.
MANY = ["-3", "-2", "-3/2", "-1", "-1/2", "0", "1", "3/2", "2", "5/2", "3", "4"]


def test_what_two_lists_share_beyond_fixed_ones_is_correlated_and_nothing_else():
    """The correlation of 2000 independent ranks is below 0.11 with five standard errors."""
    rng = np.random.default_rng(0)
    fixed, shared, first, second = rng.normal(size=(4, 2000))
    correlated = breakdown.partial_rank_correlation(fixed + first, fixed + second, [fixed])
    assert abs(correlated) < 0.11
    assert breakdown.partial_rank_correlation(shared, shared**3, [fixed]) == pytest.approx(1)
    assert breakdown.partial_rank_correlation(shared, -shared, [fixed]) == pytest.approx(-1)
    assert np.isnan(breakdown.partial_rank_correlation(fixed, shared, [fixed]))


@pytest.mark.parametrize("lams", [8, 15])
@pytest.mark.parametrize("between_seeds", [0.1, 3.0])
def test_gaps_that_have_nothing_to_do_with_broken_text_seldom_seem_to(lams, between_seeds):
    """Seeds may agree about lams that say nothing, and then they are not five independent studies.

    Of 400 such studies at most 5% may be wrong, with three standard errors.
    """
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        gap, broken = rng.normal(size=(2, lams))
        correlations = []
        for _ in range(5):
            noise = between_seeds * rng.normal(size=(2, lams))
            fixed = [np.arange(lams), np.arange(lams) + rng.normal(size=lams)]
            correlations.append(
                breakdown.partial_rank_correlation(gap + noise[0], broken + noise[1], fixed)
            )
        if np.isfinite(correlations).all():
            measured = breakdown.z_of_correlations(correlations, lams, fixed=2)
            wrong += breakdown.ADDS.outcome(measured) is Outcome.HOLDS
    assert wrong / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_a_clear_correlation_is_found_over_fifteen_lams():
    found = breakdown.z_of_correlations([0.8, 0.9, 0.7, 0.8, 0.8], lams=15, fixed=2)
    assert breakdown.ADDS.outcome(found) is Outcome.HOLDS
    with pytest.raises(ValueError, match="5 lams are too few with 2"):
        breakdown.z_of_correlations([0.8], lams=5, fixed=2)


#: A reward that is the same for all, so that the mixture is the reference at every lam.
WIDE = World(np.array([0.999, 0.001]), {"gold": np.zeros(2), "broken": np.array([0.0, 1.0])})


def test_a_gap_that_is_a_function_of_lam_adds_nothing():
    def by_lam(world: World, anchor: float, lam: float) -> np.ndarray:
        share = min(0.05 * abs(lam), 0.5) if not 0 <= lam <= 1 else 0.0
        weights = np.array([1 - share, share + 1e-3])
        return weights / weights.sum()

    *_, claim = breakdown.decide(
        evidence(["1"], "1", MANY, 100, worlds=[WIDE], sampler=by_lam, samples=64)
    )
    assert claim.verdict != REPRODUCED


def test_breaking_is_not_tested_on_a_grid_that_stays_inside():
    claims = breakdown.decide(evidence(["1"], "1", ["0", "1/2", "1"], worlds=[synthetic.FRAGILE]))
    assert verdicts(claims) == [UNTESTED, UNTESTED, UNTESTED]
