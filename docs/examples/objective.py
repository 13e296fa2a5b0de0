"""cDPO (Mitchell, 2023): DPO that takes one label in ten to be wrong.

So no pair is pushed apart without end. TRL's beta is `b = sharpness * beta`, as for DPO. The loss
sees the policy only through `b * (h(chosen) - h(rejected))`, so mixing at lam is the same as
retraining at beta / lam. Its optimum has no closed form.
"""

from __future__ import annotations

from trl import DPOConfig, DPOTrainer

from training.objectives import ObjectiveInputs

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """Return TRL's DPOTrainer with label smoothing.

    Its reference is the model with the adapter off.
    """
    return DPOTrainer(
        model=inputs.model,
        args=DPOConfig(
            **inputs.arguments,
            beta=inputs.sharpness * inputs.beta,
            label_smoothing=0.1,
            max_length=None,
        ),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
