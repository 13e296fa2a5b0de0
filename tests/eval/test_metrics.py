"""The project's own `evaluate` modules, loaded as `evaluate` loads them."""

import math

import pytest

from eval.score import load_metric
from tasks.length import LengthTask


def test_token_length_counts_ids():
    result = load_metric("token_length").compute(predictions=[[1, 2, 3], [4], []])
    assert result == {"token_length": pytest.approx(4 / 3), "values": [3, 1, 0]}


def test_sequence_kl_is_the_mean_log_ratio():
    result = load_metric("sequence_kl").compute(predictions=[math.log(0.5), math.log(0.2)], references=[math.log(0.25)] * 2)
    assert result["sequence_kl"] == pytest.approx((math.log(2) + math.log(0.8)) / 2)


def test_mean_reward_asks_the_task():
    task = LengthTask(2, 3)
    result = load_metric("mean_reward").compute(
        predictions=["a b", "a"], references=["p", "q"], reward=task.reward, completion_ids=[[1, 2], [1]]
    )
    assert result == {"mean_reward": -0.5, "values": [0.0, -1.0]}
