"""DPO (Rafailov et al., 2023) on preference pairs drawn from the reference.

With pairs labelled by sigmoid(sharpness * difference in reward), the loss with TRL's beta `b` is least at
`pi_ref * exp(sharpness * r / b)`. Passing `b = sharpness * beta` makes that `pi_ref * exp(r / beta)`: the same optimum as RLOO's at the
same `beta`, however noisy the labeller.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "known"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """TRL's DPOTrainer with the sigmoid loss."""
    return pair_trainer(inputs, "sigmoid", inputs.sharpness * inputs.beta)
