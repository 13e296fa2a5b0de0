"""Where text stays whole, against a closed form."""

from fractions import Fraction

import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, breakdown
from tests.eval import synthetic
from tests.eval.claims.wrong import OUTSIDE, verdicts
from tests.eval.synthetic import evidence

NUMBERS = [float(Fraction(lam)) for lam in OUTSIDE]


def broken(lam: float) -> float:
    return synthetic.FRAGILE.mean(synthetic.FRAGILE.mixture(1, lam), "broken")


def test_text_breaks_where_the_closed_form_says():
    above, below = breakdown.decide(evidence(["1"], "1", OUTSIDE, worlds=[synthetic.FRAGILE]))
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
    assert verdicts(claims) == [REPRODUCED, REPRODUCED]


def test_breaking_is_not_tested_on_a_grid_that_stays_inside():
    claims = breakdown.decide(evidence(["1"], "1", ["0", "1/2", "1"], worlds=[synthetic.FRAGILE]))
    assert verdicts(claims) == [UNTESTED, UNTESTED]
