"""Where text breaks down, and whether the approximation gap foresees it."""

from fractions import Fraction

import numpy as np
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, breakdown
from tests.eval import synthetic
from tests.eval.claims.wrong import OUTSIDE, verdicts
from tests.eval.synthetic import World, evidence

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
