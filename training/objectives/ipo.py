"""IPO (Azar et al., 2024): a squared loss that pulls the difference of log-ratios to `1 / (2 tau)`.

The target is finite, so even labels that are certain do not push the difference to infinity.

Geometric mixing: in the paper's form the loss has its minimum at
`pi_ref * exp(P(y preferred to the reference) / tau)`. Proposition 1 holds there, with that
probability P in place of the reward. TRL divides each log-ratio by the number of tokens, as the
authors of IPO advised. The optimum is then `pi_ref * exp(tokens * (P + c) / tau)`, where c
normalises it and so depends on tau. Therefore mixing at lam differs from retraining at tau / lam by
a factor `exp(tokens * const)`, which is a preference for some lengths.

What `beta` means: for a labeller who hardly prefers either completion,
`P = 1/2 + sharpness * (r - mean r) / 4`. With `tau = sharpness * beta * tokens / 4`, where `tokens`
is the mean length of the pairs' completions, the optimum is RLOO's at the same `beta`, to first
order in the reward.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """Return TRL's DPOTrainer with the IPO loss."""
    tau = inputs.sharpness * inputs.beta * mean_tokens(inputs) / 4
    return pair_trainer(inputs, "ipo", tau)


def mean_tokens(inputs: ObjectiveInputs) -> float:
    """Return the mean length of the pairs' completions in tokens.

    The end-of-sequence token that TRL appends is counted.
    """
    texts = [*inputs.dataset["chosen"], *inputs.dataset["rejected"]]
    return sum(len(ids) + 1 for ids in inputs.tokenizer(texts).input_ids) / len(texts)
