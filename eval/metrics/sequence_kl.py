"""KL of a policy to the reference, over whole completions, from their log-probabilities."""

import datasets
import evaluate


class SequenceKL(evaluate.Metric):
    """`log pi(y|x) - log pi_ref(y|x)` of completions that the policy has drawn, in nats.

    Its mean estimates KL(pi || pi_ref).
    """

    def _info(self):
        return evaluate.MetricInfo(
            description=(
                "Monte Carlo estimate of KL(policy || reference) over whole completions, in nats."
            ),
            citation="",
            inputs_description=(
                "predictions: log-probability of each completion under the policy that drew it; "
                "references: log-probability of the same completion under the reference."
            ),
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(self, predictions, references):
        ratios = [
            policy - reference for policy, reference in zip(predictions, references, strict=True)
        ]
        return {"sequence_kl": sum(ratios) / len(ratios), "values": ratios}
