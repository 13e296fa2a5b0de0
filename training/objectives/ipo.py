"""IPO (Azar et al., 2024): a squared loss that pulls the difference of log-ratios to `1 / (2 tau)`, so that certain labels do not push it to infinity.

The paper's form is least at `pi_ref * exp(P(y preferred to the reference) / tau)`: Proposition 1 holds, with that probability for the reward. TRL
divides each log-ratio by the number of tokens, as the authors of IPO told it; the optimum is then `pi_ref * exp(tokens * (P + c) / tau)`, where c
makes it sum to one and so depends on tau: mixing at lam is then off from retraining at tau / lam by a factor `exp(tokens * const)`, a taste for length.

What `beta` means: for a labeller who hardly prefers either, `P = 1/2 + sharpness * (r - mean r) / 4`. With `tau = sharpness * beta * tokens / 4`,
`tokens` being the mean length of the pairs' completions, the optimum is then RLOO's at the same `beta`, to first order in the reward.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """TRL's DPOTrainer with the IPO loss."""
    return pair_trainer(inputs, "ipo", inputs.sharpness * inputs.beta * mean_tokens(inputs) / 4)


def mean_tokens(inputs: ObjectiveInputs) -> float:
    """Mean length of the pairs' completions in tokens, the end-of-sequence token that TRL appends counted."""
    texts = [*inputs.dataset["chosen"], *inputs.dataset["rejected"]]
    return sum(len(ids) + 1 for ids in inputs.tokenizer(texts).input_ids) / len(texts)
