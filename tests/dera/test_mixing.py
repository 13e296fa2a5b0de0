"""Mixing agrees with its definition in float64: normalised products of powers of probabilities."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from dera import lam_from_beta, log_normalizers, mix_logits
from dera.weights import as_lam

LOGITS = st_numpy.arrays(np.float64, (2, 5), elements=st.floats(-20, 20))
LAMS = st.floats(-2, 8)


def geometric(reference: np.ndarray, aligned: np.ndarray, lam: float) -> np.ndarray:
    """The unnormalised geometric mixture of two distributions that are given by logits."""
    p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (reference, aligned))
    return p ** (1 - lam) * q**lam


@given(LOGITS, LAMS)
def test_mixture_is_the_normalised_geometric_mixture(logits, lam):
    expected = geometric(logits[0], logits[1], lam)
    reference, aligned = torch.tensor(logits[:1]), torch.tensor(logits[1:])
    mixed = mix_logits(reference, aligned, torch.tensor([lam])).softmax(-1)[0]
    # float32 logits of up to 20 * (1 + 2 * 8) carry an error near 2e-5
    np.testing.assert_allclose(mixed, expected / expected.sum(), atol=1e-4)


@given(LOGITS, LAMS)
def test_log_normalizer_is_the_log_of_the_mixture_s_mass(logits, lam):
    reference, aligned = (torch.tensor(row)[None, None] for row in logits)
    got = log_normalizers(reference, aligned, torch.tensor([lam])).item()
    mass = geometric(logits[0], logits[1], lam).sum()
    assert got == pytest.approx(math.log(mass), abs=2e-4, rel=1e-5)
    if 0 <= lam <= 1:
        assert got <= 1e-5  # Hoelder's inequality


def test_lam_0_and_1_return_the_logits_of_the_models_bit_for_bit():
    torch.manual_seed(0)
    reference, aligned = torch.randn(2, 3, 50), 30 * torch.randn(2, 3, 50)
    assert torch.equal(mix_logits(reference, aligned, torch.zeros(2)), reference)
    assert torch.equal(mix_logits(reference, aligned, torch.ones(2)), aligned)


@pytest.mark.parametrize("lam", [-2.0, -1.0, 0.0, 0.3, 1.0, 1.5, 8.0])
def test_excluded_tokens_never_become_nan_or_plus_infinity(lam):
    inf = math.inf
    reference = torch.tensor([[-inf, -inf, 0.5, 1.0]])
    aligned = torch.tensor([[-inf, 2.0, -inf, 1.0]])
    mixed = mix_logits(reference, aligned, torch.tensor([lam]))[0]
    assert not mixed.isnan().any()
    assert (mixed < inf).all()
    assert mixed[0] == -inf
    assert mixed.softmax(-1)[3] > 0
    if lam == 0:
        assert torch.equal(mixed, reference[0])
    elif lam == 1:
        assert torch.equal(mixed, aligned[0])
    else:
        assert mixed.isneginf().tolist() == [True, True, True, False]


def test_half_precision_inputs_are_mixed_in_float32():
    reference, aligned = torch.tensor([[10.0, 10.0625]]), torch.tensor([[10.0625, 10.0]])
    mixed = mix_logits(reference.bfloat16(), aligned.bfloat16(), torch.tensor([8.0]))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, reference + 8 * (aligned - reference), atol=1e-5, rtol=0)


def test_lam_is_one_number_or_a_number_for_each_row():
    assert as_lam(Fraction(1, 3), 2)[:, 0].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert as_lam([0, 2], 2)[:, 0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="batch has 3 rows"):
        as_lam([0, 2], 3)
    for bad in (math.nan, math.inf, [0.0, math.nan]):
        with pytest.raises(ValueError, match="finite"):
            as_lam(bad, 2)


def test_lam_is_aligned_beta_over_beta():
    assert lam_from_beta(0.2, 0.1) == 0.5
    with pytest.raises(ValueError, match="aligned_beta="):
        lam_from_beta(0.2, None)
    for beta in (0, -1, math.nan):
        with pytest.raises(ValueError, match="beta must be a positive finite number"):
            lam_from_beta(beta, 0.1)
