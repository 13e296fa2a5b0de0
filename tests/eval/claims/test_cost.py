"""Seconds and bytes against one model and against retraining."""

import dataclasses

import pytest

from eval.claims import FAILED, PARTLY, REPRODUCED, UNTESTED, cost
from tests.eval.claims.wrong import verdicts
from tests.eval.synthetic import evidence

BYTES = {"model bytes": 100.0, "pair bytes": 200.0, "adapter bytes": 5.0}


def costs(dera: float | None = 20.0, runs: int = 4, pair: float = 200.0):
    seconds = {
        "retrained": 10.0,
        **({} if dera is None else {"dera": dera}),
        **BYTES,
        "pair bytes": pair,
    }
    return cost.decide(
        dataclasses.replace(
            evidence(["1"], "1", prompts=4),
            training_seconds={"rloo": {"seconds a run": 100.0, "runs per seed": runs}},
            sampling_seconds={"rloo": seconds},
        )
    )


def test_cost_compares_seconds_and_bytes():
    saves, price = costs()
    assert verdicts([saves, price]) == [REPRODUCED, REPRODUCED]
    assert saves.evidence["seconds of DeRa"] == 3 * 20
    assert saves.evidence["seconds of retraining"] == 3 * 100 + 3 * 10
    assert price.evidence["decoding time, DeRa against one model"] == 2
    assert price.evidence["parameters, one model and an adapter against one"] == pytest.approx(1.05)


def test_decoding_dearer_than_training_saves_nothing():
    saves, price = costs(dera=111.0)
    assert verdicts([saves, price]) == [FAILED, PARTLY]  # the memory is as claimed
    assert verdicts(costs(dera=111.0, pair=300.0)) == [FAILED, FAILED]


def test_cost_is_not_tested_without_dera_or_without_another_strength():
    assert verdicts(costs(dera=None)) == [UNTESTED]
    assert costs(runs=1)[0].verdict == UNTESTED
