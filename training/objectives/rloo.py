"""RLOO (Ahmadian et al., 2024): policy gradient on `r - beta * log(pi / pi_ref)` with a leave-one-out baseline.

TRL puts the sequence-level log-ratio into the reward, so its `beta` is the strength of the paper's objective, as it stands.
"""

from __future__ import annotations

from trl import RLOOConfig, RLOOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import sampling_trainer

DATA = "prompts"
OPTIMUM = "known"


def make_trainer(inputs: ObjectiveInputs) -> RLOOTrainer:
    """TRL's RLOOTrainer."""
    return sampling_trainer(inputs, RLOOTrainer, RLOOConfig)
