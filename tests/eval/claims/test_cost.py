"""Seconds and bytes against one model and against retraining."""

import dataclasses
import math

import pandas as pd
import pytest

from eval.claims import FAILED, REPRODUCED, UNTESTED, cost
from eval.decide import seconds_saved
from tests.eval.claims.wrong import verdicts
from tests.eval.synthetic import evidence


def saves(costs: pd.DataFrame):
    known = dataclasses.replace(evidence(["1"], "1", prompts=4), seconds_saved=seconds_saved(costs))
    return cost.decide(known)


def costs(dera: float, seeds: int = 5, betas: int = 4) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        seconds = {"training": 100.0 + seed, "retrained": 10.0, "dera": dera}
        rows.append({"objective": "rloo", "seed": seed, "betas": betas, **seconds})
    return pd.DataFrame(rows)


def test_decoding_that_is_cheaper_than_training_saves_its_ratio():
    (claim,) = saves(costs(dera=20.0))
    assert claim.verdict == REPRODUCED
    assert claim.evidence["ratio by seed"][0] == pytest.approx(110 / 20, abs=0.05)


def test_decoding_dearer_than_training_saves_nothing():
    (claim,) = saves(costs(dera=150.0))
    assert claim.verdict == FAILED


def test_savings_need_another_strength_dera_and_several_seeds():
    assert saves(costs(dera=20.0, betas=1)) == []
    assert saves(costs(dera=math.nan)) == []
    (claim,) = saves(costs(dera=20.0, seeds=1))
    assert claim.verdict == UNTESTED


def timings(ratios: list[float], busy: float = 1.02, pair: float = 200.0) -> pd.DataFrame:
    rows = []
    for ratio in ratios:
        row = {"one model": 0.01, "two models": 0.01 * ratio, "wall over processor": 1.01}
        rows.append({**row, "model bytes": 100.0, "pair bytes": pair, "adapter bytes": 5.0})
    rows[-1]["wall over processor"] = busy
    return pd.DataFrame(rows)


NINE = [1.9, 1.95, 1.85, 1.9, 2.0, 1.8, 1.9, 1.92, 1.88]


def test_the_ratio_of_interleaved_repeats_is_compared_with_twice():
    time, memory = cost.price(timings(NINE))
    assert verdicts([time, memory]) == [REPRODUCED, REPRODUCED]
    assert time.evidence["ratio"]["low"] < 1.9 < time.evidence["ratio"]["high"]
    time, memory = cost.price(timings([ratio + 1 for ratio in NINE], pair=300.0))
    assert verdicts([time, memory]) == [FAILED, FAILED]


def test_a_busy_machine_and_few_repeats_say_nothing():
    time, _ = cost.price(timings(NINE, busy=1.6))
    assert time.verdict == UNTESTED
    assert "busy" in time.headline
    time, _ = cost.price(timings(NINE[:4]))
    assert time.verdict == UNTESTED


@pytest.mark.parametrize("wrong", [0.48, 0.999])
def test_two_models_that_take_less_than_one_were_not_timed_alone(wrong):
    """One of the two is the one model, so load alone explains such a time."""
    for ratios in ([wrong] * 9, [*NINE[:8], wrong]):
        time, memory = cost.price(timings(ratios))
        assert verdicts([time, memory]) == [UNTESTED, REPRODUCED]
        assert f"busy: in a repeat two models took {wrong:.2f} times" in time.headline
    assert cost.price(timings([*NINE[:8], 1.0]))[0].verdict == REPRODUCED
