"""Simulate how often the intervals of `eval.statistics` cover the truth, and how often tests err.

Each table has a row for each pretended study. Its shares are of many such studies, whose truth is
known. From the root of the repository

    python -m eval.coverage --output docs/statistics.md

writes the tables into the document, between the comments that name them.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dera import estimators
from dera.estimators import Array
from eval import statistics
from eval.statistics import Measurement, Outcome, above, below, measure, within
from study import job

Rng = np.random.Generator

#: How many studies each share in the document comes from.
TRIALS = 4000
#: Reweighting a study takes much longer.
REWEIGHTED_TRIALS = 1000

#: What a prompt adds to the values of all seeds, and what it adds to one seed alone (standard
#: deviations). With 256 prompts the mean over 2 or 3 seeds errs by 0.012 for want of more prompts.
PROMPT_SD = 0.13
REST_SD = 0.22
MARGIN = 0.1
RESAMPLES = 500

#: Completions of a prompt from which the optimum is estimated, by all prompts of a study.
SAMPLES = 32
REWEIGHTED_PROMPTS = 256
#: Standard deviations of the log weights that leave an effective sample of about 15, 9 and 6.
LOG_WEIGHT_SDS = (1.0, 1.49, 1.99)

#: Completions of a prompt that may fail, for each seed.
JUDGED_SAMPLES = 4


def studied(seeds: int, prompts: int, seed_sd: float, rng: Rng, rest_sd: float = REST_SD) -> Array:
    """Return values of a study whose true mean is 0, shape (seeds, prompts)."""
    of_seeds = rng.normal(0, seed_sd, (seeds, 1))
    of_prompts = rng.normal(0, PROMPT_SD, prompts)
    return of_seeds + of_prompts + rng.normal(0, rest_sd, (seeds, prompts))


def covers(measured: Measurement, truth: float) -> bool:
    """Return whether the 95% interval contains the truth."""
    low, high = measured.interval()
    return low <= truth <= high


def intervals(trials: int, rng: Rng) -> pd.DataFrame:
    """Simulate intervals, and tests of a mean at the very edge of what is tested."""
    settings = [(1, 256, 0.04, REST_SD)]
    settings += itertools.product((2, 3, 5), (32, 256), (0.0, 0.01, 0.04), (REST_SD,))
    # Without a rest the two main terms are not counted twice, and nothing widens the interval.
    settings += [(seeds, 256, 0.04, 0.0) for seeds in (2, 3, 5)]
    rows = []
    for seeds, prompts, seed_sd, rest_sd in settings:
        labels = {"seeds": seeds, "prompts": prompts, "spread of seeds": seed_sd, "rest": rest_sd}
        studies = [studied(seeds, prompts, seed_sd, rng, rest_sd) for _ in range(trials)]
        rows.append(_shares(labels, [_interval_trial(values) for values in studies]))
    return pd.DataFrame(rows)


def _interval_trial(values: Array) -> dict[str, bool]:
    """Return what one study of mean 0 gets right and wrong."""
    measured = measure(values)
    at_the_margin = dataclasses.replace(measured, value=measured.value + MARGIN)
    resampled = estimators.bootstrap_mean(values.mean(0), RESAMPLES, seed=0)
    return {
        "interval covers": covers(measured, 0),
        "wrongly above": above(measured, 0) is Outcome.HOLDS,
        "wrongly within": within(at_the_margin, MARGIN) is Outcome.HOLDS,
        "wrongly fails": within(at_the_margin, MARGIN) is Outcome.FAILS,
        "bootstrap covers": resampled.low <= 0 <= resampled.high,
    }


def powers(trials: int, rng: Rng) -> pd.DataFrame:
    """Simulate how often a test finds what is there, beside the power that is computed."""
    rows = []
    for (seeds, seed_sd), distance in itertools.product(
        [(3, 0.04), (5, 0.04), (5, 0.01)], (0.03, 0.06, 0.1)
    ):
        prompts = 256
        expected = expected_measurement(seeds, prompts, seed_sd)
        studies = [measure(studied(seeds, prompts, seed_sd, rng)) for _ in range(trials)]
        found = [
            {
                "found above": above(measured, -distance) is Outcome.HOLDS,
                "found within": within(measured, distance) is Outcome.HOLDS,
            }
            for measured in studies
        ]
        labels = {"seeds": seeds, "spread of seeds": seed_sd, "distance": distance}
        row = _shares(labels, found)
        row["power above"] = statistics.power(expected.error, expected.freedom, distance)
        row["power within"] = statistics.power_within(expected.error, expected.freedom, distance)
        rows.append(row)
    columns = ["power above", "found above", "power within", "found within"]
    return pd.DataFrame(rows)[["seeds", "spread of seeds", "distance", *columns]]


def expected_measurement(seeds: int, prompts: int, seed_sd: float) -> Measurement:
    """Return the measurement of mean 0 that a study has if it finds each spread as it is."""
    rest = REST_SD**2 / (seeds * prompts)
    from_seeds = seed_sd**2 / seeds + rest
    from_prompts = PROMPT_SD**2 / prompts
    squared = from_seeds + from_prompts
    freedom = squared / (from_seeds / (seeds - 1) + from_prompts / (prompts - 1))
    return Measurement(0.0, squared**0.5, freedom, seeds, prompts)


def skewed(trials: int, rng: Rng) -> pd.DataFrame:
    """Simulate intervals of values that are far from normal, over prompts alone."""
    draws: dict[str, tuple[Callable[[int], Array], float]] = {
        "normal": (rng.standard_normal, 0.0),
        "exponential": (rng.standard_exponential, 1.0),
        "log-normal": (lambda count: rng.lognormal(size=count), float(np.exp(0.5))),
    }
    rows = []
    for values, prompts in itertools.product(draws, (10, 32, 256)):
        draw, truth = draws[values]
        studies = [measure(draw(prompts)[None], seeds=0) for _ in range(trials)]
        found = [_at_the_truth(measured, truth) for measured in studies]
        rows.append(_shares({"values": values, "prompts": prompts}, found))
    return pd.DataFrame(rows)


def rare(trials: int, rng: Rng) -> pd.DataFrame:
    """Simulate rates of rare failures, of which five seeds find few or none."""
    seeds = 5
    settings = [(0.03, 10), (0.03, 32), (0.03, 256)]
    settings += [(statistics.smallest_rate(prompts), prompts) for prompts in (32, 64, 256)]
    rows = []
    for (rate, prompts), fails in itertools.product(settings, ("any completion", "whole prompts")):
        studies = [measure(_failures(seeds, prompts, rate, fails, rng)) for _ in range(trials)]
        found = [_at_the_truth(measured, rate) for measured in studies]
        rows.append(_shares({"rate": round(rate, 3), "prompts": prompts, "fails": fails}, found))
    return pd.DataFrame(rows)


def _at_the_truth(measured: Measurement, truth: float) -> dict[str, bool]:
    """Return what a study gets right and wrong, if the threshold is the true mean itself."""
    return {
        "interval covers": covers(measured, truth),
        "wrongly below": below(measured, truth) is Outcome.HOLDS,
        "wrongly above": above(measured, truth) is Outcome.HOLDS,
    }


def _failures(seeds: int, prompts: int, rate: float, fails: str, rng: Rng) -> Array:
    """Return the share of a prompt's completions that fail, shape (seeds, prompts)."""
    if fails == "whole prompts":
        return np.tile(rng.random(prompts) < rate, (seeds, 1)).astype(float)
    return rng.binomial(JUDGED_SAMPLES, rate, (seeds, prompts)) / JUDGED_SAMPLES


def reweighted(trials: int, rng: Rng) -> pd.DataFrame:
    """Simulate the optimum's mean reward and normaliser, from reweighted reference samples.

    A reward is normal, and the log weight is the reward over beta. In units of beta the optimum's
    mean reward is then the variance of the log weights, and its log normaliser half of that.
    """
    rows = []
    for log_weight_sd in LOG_WEIGHT_SDS:
        found = []
        sizes = []
        for _ in range(trials):
            log_weights = rng.normal(0, log_weight_sd, (REWEIGHTED_PROMPTS, SAMPLES))
            means = estimators.reweighted_mean(log_weights, log_weights)
            normalizers = estimators.log_normalizer(log_weights)
            sizes.append(estimators.effective_sample_size(log_weights).mean())
            variance = log_weight_sd**2
            found.append(
                {
                    "mean covers": covers(measure(means[None], seeds=0), variance),
                    "log normaliser covers": covers(
                        measure(normalizers[None], seeds=0), variance / 2
                    ),
                }
            )
        size = round(float(np.mean(sizes)))
        rows.append(_shares({"effective sample": size, "prompts": REWEIGHTED_PROMPTS}, found))
    return pd.DataFrame(rows)


def _shares(labels: dict[str, Any], trials: list[dict[str, bool]]) -> dict[str, Any]:
    """Return a row: the labels, and how often each thing happened in the trials."""
    return labels | {name: np.mean([trial[name] for trial in trials]) for name in trials[0]}


#: The tables of the document, by the name that the document calls them.
TABLES: dict[str, Callable[[int, Rng], pd.DataFrame]] = {
    "intervals": intervals,
    "powers": powers,
    "skewed": skewed,
    "rare": rare,
    "reweighted": reweighted,
}
#: A table stands in the document between two comments.
PLACE = r"(?s)(<!-- table {name} -->\n)(.*?)(<!-- end -->)"


def markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown, with three digits of each share."""

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_table(document: str, name: str, table: pd.DataFrame) -> str:
    """Return the document with the table in its place."""
    place = PLACE.format(name=name)
    if not re.search(place, document):
        raise ValueError(f"the document has no place for the table {name!r}; add its comments")
    return re.sub(place, lambda found: found[1] + markdown(table) + found[3], document)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the document to write into")
    args = parser.parse_args()
    with job.running("coverage", args) as progress:
        document = args.output.read_text(encoding="utf-8")
        for done, (name, simulate) in enumerate(TABLES.items()):
            progress.update(done, len(TABLES), "tables")
            trials = REWEIGHTED_TRIALS if name == "reweighted" else TRIALS
            table = simulate(trials, np.random.default_rng(args.seed))
            document = write_table(document, name, table)
        with job.atomic_path(args.output) as path:
            path.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
