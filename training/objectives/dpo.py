"""DPO (Rafailov et al., 2023) on preference pairs drawn from the reference.

With pairs labelled by sigmoid(sharpness * difference in reward), the loss with TRL's beta `b` is least at
`pi_ref * exp(sharpness * r / b)`. Passing `b = sharpness * beta` makes that `pi_ref * exp(r / beta)`: the same optimum as RLOO's at the
same `beta`, however noisy the labeller.
"""

from __future__ import annotations

from trl import DPOConfig, DPOTrainer

from training.objectives import ObjectiveInputs

DATA = "preferences"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """TRL's DPOTrainer with the sigmoid loss; the reference is the model with the adapter off."""
    return DPOTrainer(
        model=inputs.model,
        args=DPOConfig(**inputs.arguments, beta=inputs.sharpness * inputs.beta, loss_type=["sigmoid"], max_length=None),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
