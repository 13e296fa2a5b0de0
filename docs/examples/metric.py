"""Mean length of the words of a completion."""

import datasets
import evaluate


class WordLength(evaluate.Metric):
    """Letters a word, 0 where there is no word."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Mean length of a completion's words, in letters.",
            citation="",
            inputs_description="predictions: completions; references: their prompts.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        words = [text.split() for text in predictions]
        return {"values": [sum(map(len, row)) / len(row) if row else 0.0 for row in words]}
