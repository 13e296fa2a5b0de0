"""KTO (Ethayarajh et al., 2024): completions are desirable or not, one by one; here the chosen and the rejected of each pair.

The loss is `1 - sigmoid(b * (h - z))` for a desirable completion and `1 - sigmoid(b * (z - h))` for another, with `h = log(pi / pi_ref)` and z the KL to the
reference, estimated on mismatched completions of the batch. `b = sharpness * beta`, as for DPO.

Geometric mixing: sigmoid saturates, so for a completion that is desirable more often than not the loss falls for ever as h grows: there is no optimum but
for the limits of training, and none at any beta that another could be mixed from. Nor does the loss see differences of h alone: z ties h to its
normalisation, which changes with beta. The premise of Proposition 1 does not hold; whether DeRa agrees all the same is a matter of trying.
"""

from __future__ import annotations

from trl import KTOConfig, KTOTrainer

from training.objectives import ObjectiveInputs

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> KTOTrainer:
    """TRL's KTOTrainer, which takes the pairs apart; the reference is the model with the adapter off."""
    return KTOTrainer(
        model=inputs.model,
        args=KTOConfig(**inputs.arguments, beta=inputs.sharpness * inputs.beta, max_length=None),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
