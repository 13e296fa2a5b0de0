"""Preference labels follow Bradley-Terry."""

import math
import random

import pytest
from scipy import stats

from training.preferences import label


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize(("first", "second"), [(0.0, -1.0), (-1.0, 0.0), (0.0, 0.0)])
def test_label_frequencies_follow_bradley_terry(first, second, sharpness):
    """Binomial test at level 1e-4 on 4000 labels."""
    rng = random.Random(0)
    count = sum(label(rng, first, second, sharpness) for _ in range(4000))
    assert stats.binomtest(count, 4000, 1 / (1 + math.exp(sharpness * (second - first)))).pvalue > 1e-4
