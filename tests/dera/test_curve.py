"""The curve, the gap and the choice of lam against enumeration of a tiny pair's completions."""

import importlib.util

import numpy as np
import pytest

import dera
from dera import RealignedModel, diagnose, lam_curve, reweight, reweighted_kl, sample_at_lams, tune
from dera.curve.balance_heuristic import MASS_TOLERANCE
from dera.curve.tuning import choose
from tests.dera.architectures import EOS, tiny
from tests.dera.enumeration import Space
from tests.dera.tokenizers import word_tokenizer

LENGTH = 3
GRID = tuple(round(0.25 * i, 2) for i in range(9))
PARTS = tiny("llama", 1, initializer_range=0.3), tiny("llama", 2, initializer_range=0.3)
PROMPTS = [" ".join(f"w{2 + (3 * i + j) % 11}" for j in range(1 + i % 3)) for i in range(6)]
COPIES = 40  # of each prompt, so that intervals over prompts have something to resample
TOKENIZER = word_tokenizer()


def count_w5(prompts, completions):
    """Return how often w5 occurs, plus a number that depends on the prompt alone."""
    return [
        text.split().count("w5") + len(prompt) / 10
        for prompt, text in zip(prompts, completions, strict=True)
    ]


@pytest.fixture(scope="module")
def model() -> RealignedModel:
    return RealignedModel(*PARTS)


@pytest.fixture(scope="module")
def spaces() -> list[Space]:
    return [Space(*PARTS, TOKENIZER(prompt).input_ids, LENGTH, EOS) for prompt in PROMPTS]


@pytest.fixture(scope="module")
def samples(model):
    return sample_at_lams(
        model,
        TOKENIZER,
        PROMPTS * COPIES,
        (0.0, 0.75, 2.0),
        LENGTH,
        GRID,
        samples=4,
        batch_size=480,
        seed=5,
    )


def metric_of(space: Space, prompt: str) -> np.ndarray:
    """Return `count_w5` of every completion of a prompt."""
    return np.array([sequence.count(5) + len(prompt) / 10 for sequence in space.sequences])


def expectations(spaces, distribution) -> np.ndarray:
    """Return the true mean of the metric over prompts at each lam of the grid."""
    by_prompt = [
        [distribution(space, lam) @ metric_of(space, prompt) for lam in GRID]
        for space, prompt in zip(spaces, PROMPTS, strict=True)
    ]
    return np.mean(by_prompt, axis=0)


def standard_error(per_prompt: np.ndarray) -> np.ndarray:
    """Return that of a mean over copies of the same prompts: the prompts themselves are fixed."""
    by_prompt = per_prompt.reshape(COPIES, len(PROMPTS), -1)
    return np.sqrt(by_prompt.var(0, ddof=1).mean(0) / len(per_prompt))


def test_no_public_name_of_the_library_is_also_the_name_of_a_module():
    """Importing such a module would replace the function of its name by the module."""
    assert [name for name in dera.__all__ if importlib.util.find_spec(f"dera.{name}")] == []


def test_log_probabilities_of_the_samples_are_the_enumerated_ones(spaces, samples):
    ids_of_words = {f"w{i}": i for i in range(2, 13)}
    log_sampler = samples.log_sampler()
    compared = 0
    for row in range(0, len(samples.texts), 97):
        p, j, s = np.unravel_index(row, samples.lengths.shape)
        space = spaces[p % len(PROMPTS)]
        ids = tuple(ids_of_words[word] for word in samples.texts[row].split())
        length = samples.lengths[p, j, s]
        # The text leaves out padding tokens that were drawn; such rows cannot be compared.
        if len(ids) not in (length, length - 1) or len(ids) == LENGTH - 1:
            continue
        compared += 1
        i = space.index[ids if len(ids) == LENGTH else (*ids, EOS)]
        assert samples.reference[p, j, s] == pytest.approx(space.reference[i], abs=1e-4)
        assert samples.aligned[p, j, s] == pytest.approx(space.aligned[i], abs=1e-4)
        for g in (0, 3, 8):
            expected = np.log(space.sampler(GRID[g])[i])
            assert log_sampler[g, p, j, s] == pytest.approx(expected, abs=1e-4)
    assert compared > 15


@pytest.mark.parametrize("target", ["sampler", "mixture"])
def test_the_curve_is_the_enumerated_expectation_at_every_lam(spaces, samples, target):
    """Nine z-tests at level 1e-4 each: 240 prompts, three sampled lams, and lams between them."""
    curve = reweight(samples, samples.judge(count_w5), target=target)
    distribution = Space.sampler if target == "sampler" else lambda s, lam: s.mixture(lam)[0]
    truth = expectations(spaces, distribution)
    assert np.ptp(truth) > 0.2
    assert curve.supported.all()
    error = standard_error(curve.per_prompt)
    # The mixture's mean is self-normalised within a prompt's twelve samples, and jackknifed.
    bias = 0 if target == "sampler" else 0.01
    assert (np.abs(curve.mean - truth) < 3.9 * error + bias).all()
    assert (error < 0.05).all()
    assert ((curve.low < curve.mean) & (curve.mean < curve.high)).all()


def test_kl_to_the_reference_is_the_enumerated_one(spaces, samples):
    curve = reweighted_kl(samples)
    truth = [np.mean([space.kl(lam) for space in spaces]) for lam in GRID]
    assert (np.abs(curve.mean - truth) < 3.9 * standard_error(curve.per_prompt) + 1e-4).all()
    assert curve.mean[0] == pytest.approx(0, abs=0.02)
    assert truth[-1] > 0.3


def test_control_variates_beat_the_plain_weighted_mean(samples):
    """Between the sampled lams, what is known of the weights makes the error smaller."""
    values = samples.judge(count_w5)
    weights = np.exp(samples.log_sampler() - samples.log_proposal())
    plain = (weights * values).mean((2, 3)).T
    controlled = reweight(samples, values).per_prompt
    between = [1, 2, 4, 5]
    controlled_error = standard_error(controlled)[between].mean()
    assert controlled_error < 0.8 * standard_error(plain)[between].mean()


def test_lams_the_samples_do_not_reach_are_flagged_and_sampled_next(model):
    prompts = PROMPTS * 8
    far = (0.0, 4.0, 8.0)
    options = dict(samples=4, batch_size=480)
    drawn = sample_at_lams(model, TOKENIZER, prompts, [-3.0], LENGTH, far, **options)
    curve = reweight(drawn, drawn.judge(count_w5))
    reached = dict(zip(curve.lams, curve.supported, strict=True))
    assert reached[-3.0]
    assert not reached[8.0]
    assert curve.sample_next() in far

    options |= dict(sampled_lams=[-3.0], max_sampled_lams=4)
    curve, drawn = lam_curve(model, TOKENIZER, prompts, count_w5, LENGTH, far, **options)
    assert curve.supported.all()
    assert set(drawn.sampled_lams) <= {-3.0, *far}
    assert (np.abs(curve.mass - 1) <= MASS_TOLERANCE).all()


def test_the_gap_is_the_enumerated_divergence_and_its_warning_comes_where_it_fails(model, spaces):
    """z-tests at level 1e-4 where samples support the estimate; elsewhere there is a warning."""
    lams = (0.0, 0.5, 1.0, 1.5, -6.0)
    measured = diagnose(model, TOKENIZER, PROMPTS * COPIES, lams, LENGTH, 8, 480)
    gaps = {gap.lam: gap for gap in measured}
    assert np.mean([space.gap(-6.0) for space in spaces]) > gaps[-6.0].gap.high + 1
    assert "-6" in gaps[-6.0].warning
    for lam in (0.0, 0.5, 1.0, 1.5):
        truth = np.mean([space.gap(lam) for space in spaces])
        gap = gaps[lam].gap
        assert gaps[lam].warning is None
        assert abs(gap.value - truth) <= (gap.high - gap.low) + 1e-5  # four standard errors
    assert gaps[0.5].gap.value > 0.005
    assert gaps[1.0].gap.value == pytest.approx(0, abs=1e-5)


def test_the_same_seed_gives_the_same_samples(model):
    first, second, third = (
        sample_at_lams(model, TOKENIZER, PROMPTS, [0.0, 1.0], LENGTH, seed=seed, batch_size=5)
        for seed in (1, 1, 2)
    )
    assert first.texts == second.texts
    assert np.array_equal(first.log_z, second.log_z)
    assert first.texts != third.texts


def test_tune_finds_the_enumerated_optimum_and_warns_that_it_extrapolates(spaces):
    truth = expectations(spaces, Space.sampler)
    kl = np.array([np.mean([space.kl(lam) for space in spaces]) for lam in GRID])
    sign = 1 if truth[-1] > truth[0] else -1

    def towards_alignment(prompts, completions):
        """Count w5 positively or negatively, whichever alignment brings more of."""
        return [sign * value for value in count_w5(prompts, completions)]

    options = dict(lams=GRID, samples=4, batch_size=480)
    model = RealignedModel(*PARTS, aligned_beta=0.3)
    result = tune(model, TOKENIZER, PROMPTS * COPIES, towards_alignment, LENGTH, **options)
    assert result.low <= GRID[int((sign * truth).argmax())] <= result.high
    assert result.lam > 1
    assert any("extrapolates" in text for text in result.warnings)

    limit = float((kl[4] + kl[5]) / 2)  # allows lam = 1 and not 1.25
    limited = choose(result.curve, result.kl_curve, result.samples, 0.3, limit)
    assert limited.lam == GRID[int(np.where(kl <= limit, sign * truth, -np.inf).argmax())]
    assert not any("extrapolates" in text for text in limited.warnings)


def test_prompts_held_out_confirm_the_choice_and_have_no_part_in_it(model, spaces):
    """The confirmed value is the enumerated one of those prompts: z-test at level 1e-4."""
    judged = []

    def judge(prompts, completions):
        judged.append(set(prompts))
        return count_w5(prompts, completions)

    choosing, held_out = PROMPTS[:4], PROMPTS[4:]
    prompts = choosing * COPIES + held_out * COPIES
    options = dict(lams=GRID, held_out=1 / 3, batch_size=480)
    result = tune(model, TOKENIZER, prompts, judge, LENGTH, **options)
    assert judged[-1] == set(held_out)
    assert not any(seen & set(held_out) for seen in judged[:-1])
    truth = np.mean(
        [
            space.sampler(result.lam) @ metric_of(space, prompt)
            for space, prompt in zip(spaces[4:], held_out, strict=True)
        ]
    )
    confirmed = result.confirmed
    assert abs(confirmed.value - truth) < confirmed.high - confirmed.low  # four standard errors
    for share in (1.0, -0.1, 0.001):
        with pytest.raises(ValueError, match="held_out"):
            tune(model, TOKENIZER, prompts, judge, LENGTH, held_out=share)


def test_tune_says_when_nothing_beats_the_reference_and_when_the_range_ends_too_early(model):
    options = dict(lams=(0.0, 0.5, 1.0), sampled_lams=(0.0, 1.0), samples=4, batch_size=480)
    nothing = tune(model, TOKENIZER, PROMPTS * 8, count_w5, LENGTH, max_kl=0.0, **options)
    assert nothing.lam == 0
    assert nothing.beta is None
    assert any("no lam is better" in text for text in nothing.warnings)
    log_ratio = nothing.samples.aligned - nothing.samples.reference  # grows with lam without end
    curve = reweight(nothing.samples, log_ratio)
    edge = choose(curve, nothing.kl_curve, nothing.samples)
    assert edge.lam == 1.0
    assert any("largest that was measured" in text for text in edge.warnings)


def test_bad_arguments_are_refused_before_decoding(model):
    arguments = (model, TOKENIZER, PROMPTS)
    with pytest.raises(ValueError, match="max_kl must be 0 or more"):
        tune(*arguments, count_w5, LENGTH, max_kl=-1.0)
    with pytest.raises(ValueError, match="finite"):
        sample_at_lams(*arguments, [float("nan")], LENGTH)
    with pytest.raises(ValueError, match="at least one prompt"):
        sample_at_lams(model, TOKENIZER, [], [0.0], LENGTH)
    with pytest.raises(ValueError, match="two prompts"):
        diagnose(model, TOKENIZER, PROMPTS[:1], [0.5], LENGTH)
    drawn = sample_at_lams(*arguments, [0.0, 1.0], LENGTH, samples=2)
    with pytest.raises(ValueError, match="one number for each"):
        drawn.judge(lambda prompts, completions: [1.0])
    with pytest.raises(ValueError, match="must be finite"):
        drawn.judge(lambda prompts, completions: [float("nan")] * len(completions))
