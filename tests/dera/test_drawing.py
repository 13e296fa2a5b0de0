"""Tokens are drawn in proportion to their weights, whichever random number comes."""

import numpy as np
import pytest
import torch
from scipy import stats

from dera import drawing
from dera.drawing import draw

WEIGHTS = [0.0, 0.125, 0.0, 0.5, 0.25, 0.125, 0.0]


@pytest.fixture
def random_numbers(monkeypatch):
    """Makes `draw` take given random numbers, one a row."""

    def give(numbers):
        def rand(shape, dtype, device, generator):
            return torch.tensor(numbers, dtype=dtype).view(shape)

        monkeypatch.setattr(drawing.torch, "rand", rand)

    return give


@pytest.mark.parametrize("scale", [1.0, 3.0, 1e-30])
def test_each_token_gets_its_share_of_the_random_numbers(random_numbers, scale):
    """The numbers are the middles of 4096 equal parts of the unit interval."""
    random_numbers([(i + 0.5) / 4096 for i in range(4096)])
    weights = torch.tensor(WEIGHTS)[None].expand(4096, -1) * scale
    counts = torch.bincount(draw(weights), minlength=len(WEIGHTS)).tolist()
    assert counts == [4096 * share for share in WEIGHTS]


@pytest.mark.parametrize(("number", "token"), [(0.0, 1), (1 - 2**-53, 5)])
def test_the_least_and_the_greatest_random_number_draw_a_token_that_can_be_drawn(
    random_numbers, number, token
):
    random_numbers([number, number])
    # The second row has a total that rounding may reach.
    weights = torch.tensor([WEIGHTS, [0.1 * weight for weight in WEIGHTS]])
    assert draw(weights).tolist() == [token, token]


def test_a_small_weight_beside_a_large_one_is_not_lost(random_numbers):
    """Added up in float32, 2^24 ones would swallow every further one."""
    random_numbers([1 - 2**-30])
    weights = torch.tensor([[2.0**24] + [1.0] * 1000])
    assert draw(weights).tolist() == [1000]


def test_shares_are_those_of_the_weights():
    """The chi-square test is at level 1e-4."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(50, generator=generator)
    drawn = draw(weights[None].expand(20_000, -1), generator)
    counts = torch.bincount(drawn, minlength=50).numpy()
    expected = weights.double().numpy()
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-4


def test_rows_are_drawn_independently():
    """The chi-square test of two rows of equal weights is at level 1e-4."""
    generator = torch.Generator().manual_seed(1)
    drawn = draw(torch.ones(40_000, 4), generator).view(-1, 2)
    table = np.zeros((4, 4))
    np.add.at(table, (drawn[:, 0].numpy(), drawn[:, 1].numpy()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_weights_from_which_nothing_can_be_drawn_are_refused(bad):
    with pytest.raises(ValueError, match="no token can be drawn"):
        draw(torch.tensor([[0.5, 0.5], [bad, 0.0]]))
