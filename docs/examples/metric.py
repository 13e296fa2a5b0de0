"""The mean length of a completion's words."""

import datasets
import evaluate


class WordLength(evaluate.Metric):
    """Letters for each word; 0 for a completion without words."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Mean length of a completion's words, in letters.",
            citation="",
            inputs_description="predictions: completions; references: their prompts.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        return {"values": [mean_length(text.split()) for text in predictions]}


def mean_length(words):
    return sum(map(len, words)) / len(words) if words else 0.0
