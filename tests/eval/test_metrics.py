"""The project's own `evaluate` modules, loaded as `evaluate` loads them."""

import math

import pytest

from eval.score import load_metric


def test_token_length_counts_ids():
    result = load_metric("token_length").compute(predictions=[[1, 2, 3], [4], []])
    assert result == {"token_length": pytest.approx(4 / 3), "values": [3, 1, 0]}


def test_sequence_kl_is_the_mean_log_ratio():
    result = load_metric("sequence_kl").compute(
        predictions=[math.log(0.5), math.log(0.2)], references=[math.log(0.25)] * 2
    )
    assert result["sequence_kl"] == pytest.approx((math.log(2) + math.log(0.8)) / 2)


def test_repetition_counts_trigrams_that_came_before():
    texts = [
        "a b c d e",  # none
        "a b c a b c",  # abc bca cab abc: one of four
        "x x x x x x",  # xxx four times: three of four
        "a b",  # no trigram
        "",
        "a  b\nc a b c",  # white space is only white space
    ]
    result = load_metric("repetition").compute(predictions=texts)
    assert result["values"] == pytest.approx([0, 1 / 4, 3 / 4, 0, 0, 1 / 4])
    assert result["repetition"] == pytest.approx(5 / 4 / 6)


def test_repetition_is_of_each_completion_and_not_across_them():
    assert load_metric("repetition").compute(predictions=["a b c", "a b c"])["values"] == [0, 0]
