"""DPO (Rafailov et al., 2023) on preference pairs drawn from the reference.

The pairs are labelled with probability sigmoid(sharpness * difference in reward). With TRL's beta
`b` the loss then has its minimum at `pi_ref * exp(sharpness * r / b)`. So `b = sharpness * beta`
gives `pi_ref * exp(r / beta)`, which is RLOO's optimum at the same `beta`, however noisy the
labeller is.

Pairs may also be the user's own (`preferences.source: files`). What their labeller likes is then
not known as a number, and neither is the optimum: the study takes it as unknown. `sharpness` is 1,
so `b = beta`, as DPO is used everywhere.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "known"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """Return TRL's DPOTrainer with the sigmoid loss."""
    return pair_trainer(inputs, "sigmoid", inputs.sharpness * inputs.beta)
