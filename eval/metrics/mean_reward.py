"""Reward of completions, as the task gives it."""

import datasets
import evaluate


class MeanReward(evaluate.Metric):
    """The task's reward of each completion, and their mean; pass the task's `reward` function to `compute`."""

    def _info(self):
        return evaluate.MetricInfo(
            description="The task's own reward of each completion.",
            citation="",
            inputs_description=(
                "predictions: completions as text; references: their prompts; "
                "reward: function (prompts, completions, completion_ids) -> one number a completion; "
                "completion_ids: the token ids of each completion."
            ),
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(self, predictions, references, reward, completion_ids):
        values = [float(value) for value in reward(references, predictions, completion_ids)]
        return {"mean_reward": sum(values) / len(values), "values": values}
