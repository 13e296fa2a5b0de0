"""Repetition within completions."""

import collections

import datasets
import evaluate


class Repetition(evaluate.Metric):
    """Share of a completion's word trigrams that occurred in it before, and the mean of the shares.

    It is 0 where nothing is repeated.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description="Share of word trigrams that repeat an earlier one of the same completion.",
            citation="",
            inputs_description="predictions: completions as text.",
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions):
        values = [_repeated(text.split()) for text in predictions]
        return {"repetition": sum(values) / len(values), "values": values}


def _repeated(words):
    counts = collections.Counter(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(counts) / counts.total() if counts else 0.0
