"""The curve's statistics and the choice of lam in closed form, where models would hide corners."""

import numpy as np
import pytest
from scipy import stats

from dera import reweight, reweighted_kl
from dera.curve.balance_heuristic import coverage
from dera.curve.tuning import choose
from dera.exact_mixture.gap import gaps_of
from tests.dera.dice import Dice

#: By symmetry, the middle face is most probable at lam = 1/2.
HUMP = Dice([0.6, 0.3, 0.1], [0.1, 0.3, 0.6])
GRID = tuple(round(0.1 * i, 1) for i in range(11))


def middle(faces: np.ndarray) -> np.ndarray:
    return (faces == 1).astype(float)


def test_the_choice_has_an_interval_that_covers_an_optimum_inside_the_range():
    """Nominally 95 of 100 intervals hold the truth, 0.5; fewer than 85 have probability 1e-4.

    The judge is noisy. The curves' own bands play no part in the choice.
    """
    covered = 0
    widths = []
    for seed in range(100):
        samples, faces = HUMP.roll((0.0, 1.0), GRID, prompts=400, samples=2, seed=seed)
        noisy = middle(faces) + np.random.default_rng(seed).normal(scale=0.5, size=faces.shape)
        curve = reweight(samples, noisy, resamples=2)
        kl_curve = reweighted_kl(samples, resamples=2)
        tuning = choose(curve, kl_curve, samples, resamples=300, seed=seed)
        covered += tuning.low <= 0.5 <= tuning.high
        widths.append(tuning.high - tuning.low)
    assert covered >= 85
    assert 0 < np.mean(widths) < 1


def test_a_limit_on_the_kl_moves_the_choice_below_it():
    samples, faces = HUMP.roll((0.0, 1.0), GRID, prompts=2000, samples=2)
    curve = reweight(samples, middle(faces))
    kl_curve = reweighted_kl(samples)
    truth = [HUMP.at(lam) @ np.log(HUMP.at(lam) / HUMP.reference) for lam in GRID]
    limit = (truth[2] + truth[3]) / 2
    tuning = choose(curve, kl_curve, samples, aligned_beta=0.2, max_kl=limit)
    assert tuning.lam == 0.2
    assert tuning.beta == pytest.approx(1.0)
    warned = any("may be above" in warning for warning in tuning.warnings)
    assert not warned or tuning.kl.high > limit
    assert tuning.without_limit == 0.5
    assert choose(curve, kl_curve, samples).without_limit is None
    assert choose(curve, kl_curve, samples, max_kl=2 * truth[-1]).without_limit is None


def test_what_one_model_excludes_counts_where_that_model_has_no_share():
    """The aligned die has no face 2, which comes up at lam = 0 and nowhere else.

    The KL at lam = 0 is 0 all the same.
    """
    dice = Dice([0.5, 0.3, 0.2], [0.4, 0.6, 0.0])
    samples, faces = dice.roll((0.0, 1.0), (0.0, 0.5, 1.0), prompts=3000, samples=2)
    curve = reweight(samples, (faces == 2).astype(float))
    kl_curve = reweighted_kl(samples)
    assert curve.mean == pytest.approx([0.2, 0, 0], abs=0.02)
    mixed = [dice.at(lam)[:2] for lam in (0.5, 1.0)]
    kls = [shares @ np.log(shares / dice.reference[:2]) for shares in mixed]
    assert kl_curve.mean == pytest.approx([0.0, *kls], abs=0.02)
    assert all(np.isfinite([gap.kl.value, gap.gap.value]).all() for gap in gaps_of(samples))


@pytest.mark.parametrize("difference", [0.0, 1e-7])
def test_equal_models_have_a_flat_curve_and_no_preference(difference):
    dice = Dice([0.5, 0.3, 0.2], [0.5 + difference, 0.3 - difference, 0.2])
    samples, faces = dice.roll((0.0, 1.0), GRID, prompts=50, samples=2)
    values = middle(faces)
    curve = reweight(samples, values)
    assert curve.mean == pytest.approx([values.mean()] * len(GRID), abs=1e-5)
    assert curve.supported.all()


def test_one_sampled_lam_is_enough_for_an_estimate_at_that_lam():
    samples, faces = HUMP.roll((0.4,), (0.0, 0.4), prompts=2000, samples=2)
    curve = reweight(samples, middle(faces))
    own = list(curve.lams).index(0.4)
    assert curve.mean[own] == middle(faces).mean()
    assert abs(curve.mean[0] - 0.3) < 4 * (curve.high[0] - curve.low[0]) / 3.9


def test_many_sampled_lams_far_away_do_not_take_support_from_one_that_was_sampled():
    """A sampled lam whose completions no other lam produces is worth its own samples.

    It does not matter how many other sampled lams there are.
    """
    far = Dice([1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9])
    sampled_lams = (0.0, *(1.0 + 0.1 * i for i in range(11)))
    samples, _ = far.roll(sampled_lams, sampled_lams, prompts=50, samples=4)
    ess, mass, supported = coverage(samples)
    assert ess[0] == pytest.approx(1 / 12, rel=0.01)
    assert mass[0] == pytest.approx(1)
    assert supported.all()


def test_a_lam_whose_completions_were_never_drawn_is_not_supported():
    far = Dice([1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6])
    samples, faces = far.roll((0.0,), (0.0, 1.0), prompts=100, samples=2, seed=1)
    assert not faces.any()  # the aligned model's face never came up
    _, mass, supported = coverage(samples)
    assert supported.tolist() == [True, False]
    assert mass[1] < 0.01


@pytest.mark.parametrize("samples", [2, 4])
def test_the_mixture_s_estimate_is_unbiased_to_first_order_with_several_sampled_lams(samples):
    """4000 prompts; z-test at level 1e-4.

    A third of the bias that is there without the jackknife is allowed.
    """
    rolled, faces = HUMP.roll(
        (0.0, 0.5, 1.0, 1.5), (0.0, 0.5, 1.0, 1.5, 2.0), prompts=4000, samples=samples
    )
    values = (faces == 2).astype(float)
    truth = HUMP.at(2.0)[2]
    curve = reweight(rolled, values, target="mixture")
    weights = np.exp(rolled.log_mixture() - rolled.log_proposal())[-1].reshape(4000, -1)
    plain_means = (weights * values.reshape(4000, -1)).sum(-1) / weights.sum(-1)
    plain = plain_means.mean() - truth
    error = curve.per_prompt[:, -1].std() / np.sqrt(4000)
    assert abs(plain) > 5 * error
    assert abs(curve.mean[-1] - truth) < abs(plain) / 3 + stats.norm.isf(0.5e-4) * error


def test_where_nothing_can_be_estimated_the_reference_is_kept_with_a_warning():
    samples, faces = HUMP.roll((0.0, 1.0), GRID, prompts=20, samples=2)
    curve = reweight(samples, middle(faces), min_ess=5.0)
    tuning = choose(curve, reweighted_kl(samples, min_ess=5.0), samples)
    assert tuning.lam == tuning.low == tuning.high == 0
    assert "no lam could be estimated" in tuning.warnings[0]


def test_few_prompts_cause_a_warning():
    samples, faces = HUMP.roll((0.0, 1.0), GRID, prompts=5, samples=4)
    tuning = choose(reweight(samples, middle(faces)), reweighted_kl(samples), samples)
    assert "only 5 prompts" in tuning.warnings[0]
