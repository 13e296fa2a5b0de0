"""The table of readings: means over prompts, then over seeds, with t-intervals over seeds."""

import numpy as np
import pandas as pd
import pytest

from eval.kl_by_lam import summarize
from eval.read import COLUMNS

LABELS = {"task": "paper", "objective": "rloo", "beta": "0.5"}
#: The largest quantiles that a 95% interval uses, from a printed table of Student's t.
T = {1: 12.706, 2: 4.303, 4: 2.776}


def readings(of_seeds: dict[int, list[float]], **labels) -> pd.DataFrame:
    """Readings of each seed's prompts by DeRa of a seed, or by what `labels` say."""
    rows = []
    for seed, kls in of_seeds.items():
        for prompt_id, kl in enumerate(kls):
            rows.append({**LABELS, "seed": seed, "prompt_id": prompt_id, "kl": kl, **labels})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    return table.astype({"reader_seed": "Int64", "anchor": object, "lam": float, "factor": float})


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_is_students_over_the_means_of_seeds(seeds):
    rng = np.random.default_rng(seeds)
    of_seeds = {seed: list(rng.exponential(size=7)) for seed in range(seeds)}
    (row,) = summarize(readings(of_seeds, reader="reference")).itertuples()
    means = [np.mean(kls) for kls in of_seeds.values()]
    half = T[seeds - 1] * np.std(means, ddof=1) / np.sqrt(seeds)
    assert row.kl == pytest.approx(np.mean(means))
    assert row.kl_high - row.kl == pytest.approx(half, rel=1e-3)
    assert row.kl - row.kl_low == pytest.approx(half, rel=1e-3)
    assert row.seeds == seeds


def test_one_seed_has_a_mean_and_no_interval():
    (row,) = summarize(readings({0: [1.0, 3.0]}, reader="reference")).itertuples()
    assert row.kl == 2
    assert np.isnan([row.kl_low, row.kl_high]).all()


def test_readers_are_named_by_whose_aligned_model_reads():
    of_dera = {"reader": "dera", "anchor": "0.25", "lam": 0.5, "factor": 1.0, "slope": 2.0}
    table = pd.concat(
        [
            readings({0: [1.0]}, reader="reference"),
            readings({0: [2.0]}, reader="retrained", reader_seed=1),
            readings({0: [3.0]}, reader_seed=0, **of_dera),
            readings({0: [4.0]}, reader_seed=1, **of_dera),
            readings({1: [6.0]}, reader_seed=0, **of_dera),
        ]
    )
    found = summarize(table).set_index("reader")
    assert found["kl"].to_dict() == {
        "reference": 1,
        "floor": 2,
        "within a seed": 3,
        "across seeds": 5,
    }
    assert found["seeds"].to_dict()["across seeds"] == 2
    assert found.loc["within a seed", ["anchor", "factor", "lam", "slope"]].tolist() == [
        0.25,
        1,
        0.5,
        2,
    ]
    assert found.loc[["reference", "floor"], ["anchor", "factor", "slope"]].isna().all(axis=None)
