"""RLOO (Ahmadian et al., 2024): policy gradient with a leave-one-out baseline.

The reward is `r - beta * log(pi / pi_ref)` of a whole completion. TRL forms it with its own `beta`,
so that `beta` is the strength in the paper's objective as it stands.
"""

from __future__ import annotations

from trl import RLOOConfig, RLOOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import sampling_trainer

DATA = "prompts"
OPTIMUM = "known"


def make_trainer(inputs: ObjectiveInputs) -> RLOOTrainer:
    """Return TRL's RLOOTrainer."""
    return sampling_trainer(inputs, RLOOTrainer, RLOOConfig)
