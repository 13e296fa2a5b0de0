"""Length of completions in tokens."""

import datasets
import evaluate


class TokenLength(evaluate.Metric):
    """Number of tokens of each completion, and their mean.

    The end-of-sequence token is not among the ids of a completion.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description="Length of completions in tokens, the end-of-sequence token left out.",
            citation="",
            inputs_description="predictions: the token ids of each completion.",
            features=datasets.Features({"predictions": datasets.List(datasets.Value("int64"))}),
        )

    def _compute(self, predictions):
        lengths = [len(ids) for ids in predictions]
        return {"token_length": sum(lengths) / len(lengths), "values": lengths}
