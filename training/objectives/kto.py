"""KTO (Ethayarajh et al., 2024): completions are desirable or not, one by one; here the chosen and the rejected of each pair.

The loss is `1 - sigmoid(b * (h - z))` for a desirable completion and `1 - sigmoid(b * (z - h))` for another, with `h = log(pi / pi_ref)` and z the KL to the
reference, estimated on mismatched completions of the batch. `b = sharpness * beta`, as for DPO.

Geometric mixing: the sigmoid saturates, so a completion that is rejected more often than chosen is pushed down for ever: at the optimum it has no probability
left, at any beta, and only the limits of training keep it. Nor does the loss see differences of h alone: z ties h to its normalisation, which changes
with beta. The premise of Proposition 1 does not hold; whether DeRa agrees all the same is a matter of trying.
"""

from __future__ import annotations

from trl import KTOConfig, KTOTrainer, unpair_preference_dataset

from training.objectives import ObjectiveInputs

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> KTOTrainer:
    """TRL's KTOTrainer; the reference is the model with the adapter off."""
    # TRL reads rows in their order, and pairs taken apart are a thousand chosen ones before the first rejected
    rows = unpair_preference_dataset(inputs.dataset).shuffle(seed=inputs.arguments["seed"])
    return KTOTrainer(
        model=inputs.model,
        args=KTOConfig(**inputs.arguments, beta=inputs.sharpness * inputs.beta, max_length=None),
        train_dataset=rows,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
