"""Measurements against scipy's own tests and closed forms, and simulated rates of error."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from eval import coverage, statistics
from eval.coverage import PLACE, TABLES
from eval.statistics import Measurement, Outcome, above, below, measure, power, power_within, within
from study.prospects import MIN_PROMPTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics.md"
RNG = np.random.default_rng

#: How many studies the tests simulate for each table.
TRIALS = {"intervals": 400, "powers": 400, "skewed": 400, "rare": 400, "reweighted": 30}
#: All figures together disagree by chance, between a right document and a right rerun, with a
#: probability below this one.
CHANCE = 1e-4
#: How the columns begin that count what tests found, beside those that say what covers the truth.
SIMULATED = ("wrongly", "found")


def crossed(seeds: int, prompts: int) -> np.ndarray:
    """Return values with a spread of seeds, of prompts, and a rest."""
    rng = RNG(0)
    of_seeds = rng.normal(0, 0.3, (seeds, 1))
    return 1 + of_seeds + rng.normal(0, 1, prompts) + rng.normal(0, 2, (seeds, prompts))


# What is measured


def test_one_seed_is_measured_as_by_scipy_s_t_test_over_prompts():
    values = crossed(1, 20)
    measured = measure(values)
    for threshold in (0.2, 1.0, 1.7):
        greater = stats.ttest_1samp(values[0], threshold, alternative="greater").pvalue
        assert measured.p_above(threshold) == pytest.approx(greater)
        assert measured.p_below(threshold) == pytest.approx(1 - greater)
    for confidence in (0.8, 0.95):
        expected = stats.ttest_1samp(values[0], 0).confidence_interval(confidence)
        assert measured.interval(confidence) == pytest.approx(tuple(expected))
    assert (measured.seeds, measured.prompts) == (1, 20)


def test_prompts_that_do_not_differ_leave_scipy_s_t_test_over_seeds():
    of_seeds = np.array([0.1, 0.4, 0.2, 0.9])
    measured = measure(np.tile(of_seeds[:, None], (1, 50)))
    expected = stats.ttest_1samp(of_seeds, 0)
    assert measured.freedom == pytest.approx(3)
    assert measured.interval() == pytest.approx(tuple(expected.confidence_interval()))


def test_seeds_that_do_not_differ_count_once():
    """Five copies of one seed say no more of the prompts than one does."""
    values = crossed(1, 20)
    copies = measure(np.tile(values, (5, 1)))
    alone = measure(values)
    assert copies.error == pytest.approx(alone.error)
    assert copies.freedom == pytest.approx(alone.freedom)


def test_the_error_is_the_sum_of_the_components_of_a_two_way_table():
    """The components come from the classical expected mean squares, here by loops."""
    seeds, prompts = 4, 6
    values = crossed(seeds, prompts)
    mean = values.mean()
    squares = {"seeds": 0.0, "prompts": 0.0, "rest": 0.0}
    for seed in range(seeds):
        for prompt in range(prompts):
            of_seed = values[seed].mean() - mean
            of_prompt = values[:, prompt].mean() - mean
            squares["seeds"] += of_seed**2 / (seeds - 1)
            squares["prompts"] += of_prompt**2 / (prompts - 1)
            rest = values[seed, prompt] - mean - of_seed - of_prompt
            squares["rest"] += rest**2 / ((seeds - 1) * (prompts - 1))
    seed_variance = (squares["seeds"] - squares["rest"]) / prompts
    prompt_variance = (squares["prompts"] - squares["rest"]) / seeds
    assert min(seed_variance, prompt_variance) > 0  # so that no component is cut off at 0
    expected = (
        seed_variance / seeds + prompt_variance / prompts + squares["rest"] / (seeds * prompts)
    )
    measured = measure(values)
    assert measured.error**2 == pytest.approx(expected)

    # The freedom lies between those of seeds and prompts, by the shares of the squared error.
    from_seeds = squares["seeds"] / (seeds * prompts)
    share = from_seeds / expected
    assert 1 / measured.freedom == pytest.approx(share / (seeds - 1) + (1 - share) / (prompts - 1))


def test_the_error_is_never_below_that_of_seeds_alone_or_prompts_alone():
    for seed in range(200):
        values = RNG(seed).normal(0, 1, (3, 5))
        measured = measure(values)
        assert measured.error >= stats.sem(values.mean(1)) * (1 - 1e-9)
        assert measured.error >= stats.sem(values.mean(0)) * (1 - 1e-9)
        assert 2 <= measured.freedom <= 4 + 1e-9


def test_a_prompt_without_a_value_for_one_seed_is_left_out_for_all():
    values = crossed(3, 10)
    holed = values.copy()
    holed[1, 4] = np.nan
    assert measure(holed) == measure(np.delete(values, 4, axis=1))


def test_a_row_of_no_seed_has_the_error_of_its_prompts():
    values = crossed(1, 10)
    seedless = measure(values, seeds=0)
    assert seedless.seeds == 0
    assert seedless.interval() == measure(values).interval()


@pytest.mark.parametrize(
    ("values", "seeds", "message"),
    [
        (np.ones(5), None, r"shape \(5,\); give one row a seed"),
        (np.ones((0, 5)), None, r"shape \(0, 5\)"),
        (np.ones((3, 1)), None, "1 prompts have a value for every seed.*evaluate more prompts"),
        ([[1, np.nan, 2], [np.nan, 1, 2]], None, "1 prompts have a value for every seed"),
        ([[1, np.inf, 2]], None, "infinite; give NaN"),
        (np.ones((2, 5)), 0, "seeds is 0, but values have 2 rows"),
        (np.ones((2, 5)), 3, "seeds is 3, but values have 2 rows; give one row a seed"),
    ],
)
def test_values_that_cannot_be_measured_are_refused_with_a_remedy(values, seeds, message):
    with pytest.raises(ValueError, match=message):
        measure(values, seeds)


# Values without any spread


@pytest.mark.parametrize("seeds", [1, 4])
def test_values_that_do_not_vary_are_known_for_certain(seeds):
    measured = measure(np.full((seeds, 8), 0.5))
    assert (measured.value, measured.error) == (0.5, 0.0)
    assert measured.freedom == (7 if seeds == 1 else 3)
    assert measured.interval() == (0.5, 0.5)
    assert (measured.p_above(0.4), measured.p_above(0.6)) == (0, 1)
    assert (measured.p_below(0.4), measured.p_below(0.6)) == (1, 0)
    assert above(measured, 0.4) is Outcome.HOLDS
    assert below(measured, 0.4) is Outcome.FAILS
    assert within(measured, 0.6) is Outcome.HOLDS
    assert within(measured, 0.4) is Outcome.FAILS


def test_a_certain_value_at_its_threshold_is_neither_above_nor_below():
    measured = measure(np.full((2, 8), 0.5))
    assert (measured.p_above(0.5), measured.p_below(0.5)) == (1, 1)
    assert above(measured, 0.5) is below(measured, 0.5) is within(measured, 0.5) is Outcome.OPEN


def test_seeds_whose_differences_cancel_still_have_the_error_of_prompts():
    """Both seeds have the mean 1, and what one prompt gains the next one loses."""
    values = np.array([[0.0, 2, 0, 2], [2, 0, 2.5, -0.5]])
    measured = measure(values)
    assert measured.error == pytest.approx(stats.sem(values.mean(0)))
    assert measured.freedom >= 1


# Outcomes


def measured_at(value: float) -> Measurement:
    """Return a measurement that a one-sided test at 5% moves by 2.015 errors of 0.1."""
    return Measurement(value, error=0.1, freedom=5, seeds=6, prompts=100)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (0.21, Outcome.HOLDS),
        (0.19, Outcome.OPEN),
        (-0.19, Outcome.OPEN),
        (-0.21, Outcome.FAILS),
    ],
)
def test_above_and_below_are_decided_at_the_tabulated_quantile(value, outcome):
    assert above(measured_at(value), 0) is outcome
    assert below(measured_at(-value), 0) is outcome
    assert above(measured_at(value + 3), 3) is outcome


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (0.0, Outcome.HOLDS),
        (0.29, Outcome.HOLDS),
        (0.31, Outcome.OPEN),
        (0.69, Outcome.OPEN),
        (0.71, Outcome.FAILS),
    ],
)
def test_within_holds_and_fails_two_quantiles_from_its_margin(value, outcome):
    assert within(measured_at(value), 0.5) is outcome
    assert within(measured_at(-value), 0.5) is outcome


@pytest.mark.parametrize(
    ("test", "threshold", "direction"),
    [(above, 0.0, -1), (below, 0.0, 1), (within, 0.5, 1), (within, 0.5, -1)],
)
def test_a_stricter_level_for_failing_leaves_more_open(test, threshold, direction):
    """At 5% the quantile is 2.015 errors, and at 1% it is 3.365."""
    barely = measured_at(direction * (threshold + 0.33))
    clearly = measured_at(direction * (threshold + 0.35))
    assert test(barely, threshold) is Outcome.FAILS
    assert test(barely, threshold, fail_level=0.01) is Outcome.OPEN
    assert test(clearly, threshold, fail_level=0.01) is Outcome.FAILS


def test_much_noise_is_open_and_not_a_failure():
    values = RNG(3).normal(0.0, 30.0, (5, 64))
    assert within(measure(values), 0.1) is Outcome.OPEN


@pytest.mark.parametrize("level", [0, 0.5, -1, float("nan")])
def test_a_level_that_is_none_is_refused(level):
    for call in (
        lambda: above(measured_at(0), 0, level),
        lambda: below(measured_at(0), 0, 0.05, level),
        lambda: within(measured_at(0), 1, level),
        lambda: power(1, 1, 1, level),
        lambda: power_within(1, 1, 1, level),
    ):
        with pytest.raises(ValueError, match="give a number between 0 and 0.5"):
            call()


def test_thresholds_and_margins_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="margin is -0.1; give"):
        within(measured_at(0), -0.1)
    with pytest.raises(ValueError, match="give a finite threshold"):
        above(measured_at(0), float("nan"))
    with pytest.raises(ValueError, match="confidence is 95; give"):
        measured_at(0).interval(95)
    with pytest.raises(ValueError, match="error is -1"):
        power(-1, 4, 1)


# Power


@pytest.mark.parametrize("freedom", [1, 2.5, 4, 40])
@pytest.mark.parametrize("distance", [-1.0, 0.0, 0.7, 2.0, 6.0])
def test_power_is_the_integral_over_the_errors_a_study_may_find(freedom, distance):
    critical = stats.t.ppf(0.95, freedom)

    def found(scale: float) -> float:
        density = stats.chi.pdf(scale * freedom**0.5, freedom) * freedom**0.5
        return stats.norm.cdf(distance - critical * scale) * density

    expected, _ = integrate.quad(found, 0, 12, limit=200)
    assert power(1, freedom, distance) == pytest.approx(expected, abs=1e-6)
    assert power(0.2, freedom, 0.2 * distance) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("freedom", [1, 2.5, 4, 40])
@pytest.mark.parametrize("margin", [0.1, 1.0, 2.0, 6.0])
def test_power_within_is_the_integral_over_the_errors_a_study_may_find(freedom, margin):
    critical = stats.t.ppf(0.95, freedom)

    def found(scale: float) -> float:
        density = stats.chi.pdf(scale * freedom**0.5, freedom) * freedom**0.5
        return (2 * stats.norm.cdf(margin - critical * scale) - 1) * density

    expected, _ = integrate.quad(found, 0, margin / critical, limit=200)
    assert power_within(1, freedom, margin) == pytest.approx(expected, abs=1e-4)
    assert power_within(0.2, freedom, 0.2 * margin) == pytest.approx(expected, abs=1e-4)


def test_power_runs_from_none_to_certainty():
    """scipy's series gives no number far out, for example 40 errors away with 30 of freedom."""
    for freedom in (1, 4, 30, 255):
        powers = [power(1, freedom, distance) for distance in np.linspace(-60, 200, 521)]
        assert np.all(np.diff(powers) >= -1e-9)
        assert powers[0] == pytest.approx(0, abs=1e-9)
        assert powers[-1] == pytest.approx(1)
    assert power(1, 4, 0) == pytest.approx(0.05)
    assert (power(0, 4, 0.1), power(0, 4, 0), power(0, 4, -0.1)) == (1, 0, 0)
    assert (power_within(0, 4, 0.1), power_within(0, 4, 0)) == (1, 0)
    assert power_within(1, 4, 0) == 0


def test_a_rate_is_tested_only_where_ten_prompts_reach_it():
    assert statistics.smallest_rate(256) * 256 == statistics.MIN_RARE_PROMPTS


# Simulated rates of error


def documented(name: str) -> pd.DataFrame:
    """Return a table of the document, with numbers where all cells of a column are numbers."""
    found = re.search(PLACE.format(name=name), DOCUMENT.read_text(encoding="utf-8"))
    assert found, f"docs/statistics.md has no table {name}"
    header, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[2].splitlines()
    ]
    table = pd.DataFrame(lines, columns=header)
    for column in table:
        if table[column].str.fullmatch(r"[-+.e\d]+").all():
            table[column] = table[column].astype(float)
    return table


@pytest.fixture(scope="module")
def rerun() -> dict[str, pd.DataFrame]:
    """Return every table, simulated with seeds that the document does not use."""
    return {name: simulate(TRIALS[name], RNG(2026)) for name, simulate in TABLES.items()}


def shares(table: pd.DataFrame) -> list[str]:
    """Return the columns that count trials."""
    return [name for name in table if name.endswith("covers") or name.startswith(SIMULATED)]


@pytest.mark.parametrize("name", TABLES)
def test_the_document_s_table_agrees_with_a_rerun(name, rerun):
    """Fisher's exact test compares each share with its rerun."""
    figures = sum(table[shares(table)].size for table in rerun.values())
    ours, theirs = rerun[name], documented(name)
    trials = coverage.REWEIGHTED_TRIALS if name == "reweighted" else coverage.TRIALS
    assert list(ours) == list(theirs)
    assert len(ours) == len(theirs)
    for column in shares(ours):
        for row, (found, stated) in enumerate(zip(ours[column], theirs[column], strict=True)):
            hits = round(found * TRIALS[name]), round(stated * trials)
            misses = TRIALS[name] - hits[0], trials - hits[1]
            chance = stats.fisher_exact([hits, misses]).pvalue
            assert chance > CHANCE / figures, f"{column}, row {row}: {stated}, rerun {found}"
    for column in set(ours) - set(shares(ours)):
        if theirs[column].dtype == float:
            assert theirs[column].to_numpy() == pytest.approx(ours[column], rel=6e-3), column
        else:
            assert list(theirs[column]) == list(ours[column])


def at_most(share: float, trials: int) -> float:
    """Return a bound that a share of trials exceeds with probability below 1e-6."""
    return stats.binom.isf(1e-6, trials, share) / trials


@pytest.mark.parametrize("column", ["wrongly above", "wrongly within", "wrongly fails"])
def test_with_three_seeds_a_test_errs_as_seldom_as_it_says(rerun, column):
    """The true rate may be 0.06: the freedom is approximate."""
    table = rerun["intervals"]
    rates = table[table.seeds >= 3][column]
    assert rates.max() <= at_most(0.06, TRIALS["intervals"])
    assert rates.mean() <= at_most(0.06, TRIALS["intervals"] * len(rates))


def test_with_three_seeds_the_interval_covers_the_truth_as_often_as_it_says(rerun):
    """The true rate may be 0.94: the freedom is approximate."""
    table = rerun["intervals"]
    missed = 1 - table[table.seeds >= 3]["interval covers"]
    assert missed.max() <= at_most(0.06, TRIALS["intervals"])
    assert missed.mean() <= at_most(0.06, TRIALS["intervals"] * len(missed))


def test_satterthwaite_s_freedom_is_too_generous_with_two_seeds():
    """By the spread of seeds that was found it covers 0.865 of the time, and ours 0.94.

    Each bound lies five standard errors of 1200 trials away.
    """
    seeds, prompts, rng = 2, 256, RNG(7)
    covered = {"ours": 0, "satterthwaite": 0}
    for _ in range(1200):
        values = coverage.studied(seeds, prompts, 0.04, rng)
        measured = measure(values)
        terms = values.mean(1).var(ddof=1) / seeds, values.mean(0).var(ddof=1) / prompts
        freedom = sum(terms) ** 2 / (terms[0] ** 2 / (seeds - 1) + terms[1] ** 2 / (prompts - 1))
        usual = dataclasses.replace(measured, freedom=freedom)
        covered["ours"] += coverage.covers(measured, 0)
        covered["satterthwaite"] += coverage.covers(usual, 0)
    assert covered["satterthwaite"] / 1200 < 0.915
    assert covered["ours"] / 1200 > 0.9


def test_a_bootstrap_over_prompts_alone_misses_what_seeds_add(rerun):
    """With the spread of seeds that was found it covers at most 0.8, by a test at 1e-6."""
    table = rerun["intervals"]
    found = (table["spread of seeds"] == 0.04) & (table.prompts == 256)
    noisy = table[found & (table.rest == coverage.REST_SD)]
    assert list(noisy.seeds) == [1, 2, 3, 5]
    missed = 1 - noisy["bootstrap covers"]
    assert missed.min() >= 0.2 - (at_most(0.2, TRIALS["intervals"]) - 0.2)
    assert noisy["bootstrap covers"].min() >= 0.4


def test_power_is_what_a_simulated_study_has():
    """The freedom of a study varies, and power counts it as known: it may be off by 0.03."""
    table = documented("powers")
    for kind in ("above", "within"):
        stated, found = table[f"power {kind}"], table[f"found {kind}"]
        chance = 5 * np.sqrt(found * (1 - found) / coverage.TRIALS)
        assert ((found - stated).abs() <= 0.03 + chance).all()


@pytest.mark.parametrize(("test", "threshold"), [(above, -0.1), (within, 0.1)])
def test_power_is_exact_where_only_seeds_vary(test, threshold):
    """A right power differs from 4000 trials by more than 5 errors with probability 1e-6."""
    rng = RNG(11)
    computed = power_within if test is within else power
    expected = computed(0.08 / 5**0.5, 4, 0.1)
    studies = [measure(of_seeds_only(rng)) for _ in range(4000)]
    found = np.mean([test(study, threshold) is Outcome.HOLDS for study in studies])
    assert abs(found - expected) < 5 * (expected * (1 - expected) / 4000) ** 0.5


def of_seeds_only(rng: np.random.Generator) -> np.ndarray:
    """Return values of five seeds that do not depend on the prompt."""
    return np.tile(rng.normal(0, 0.08, (5, 1)), (1, 2))


def test_rates_at_the_smallest_threshold_are_seldom_called_smaller(rerun):
    """Below that threshold studies of a few prompts are wrong most of the time."""
    table = rerun["rare"]
    least = statistics.MIN_RARE_PROMPTS / table.prompts
    testable = (table.rate >= least - 0.001) & (table.prompts >= MIN_PROMPTS)
    assert testable.sum() == 6
    assert table[testable]["wrongly below"].max() <= at_most(0.12, TRIALS["rare"])
    assert table[~testable]["wrongly below"].max() >= 0.5


def test_reweighting_needs_the_effective_sample_that_is_asked():
    """The bounds are for the document's trials, of which an error is at most 0.016."""
    table = documented("reweighted").set_index("effective sample")
    covers = table["mean covers"]
    assert covers[statistics.MIN_EFFECTIVE_SAMPLES] >= 0.9
    assert covers[9] <= 0.7
    assert covers[6] <= 0.05
    assert table["log normaliser covers"][statistics.MIN_EFFECTIVE_SAMPLES] >= 0.93
