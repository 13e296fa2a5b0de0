"""SLiC-HF's hinge loss (Zhao et al., 2023) on log-ratios to the reference, as in RSO (Liu et al., 2024).

With TRL's beta `b` the loss is `max(0, 1 - b * (h(chosen) - h(rejected)))`, `h = log(pi / pi_ref)`: it asks for a margin of `1 / b` between the
better completion and the worse, by majority of the labels, and no more. With `b = sharpness * beta` that margin is what DPO's optimum has for a pair
that the labeller prefers at odds of e to 1, so the two mean the same strength there.

Geometric mixing: the loss sees the policy only through `b * (h(chosen) - h(rejected))`, so Proposition 1 holds with the function the hinge is least at
in place of the reward (see `training.objectives`). That function has no closed form: more than two completions cannot all be one margin apart.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """TRL's DPOTrainer with the hinge loss."""
    return pair_trainer(inputs, "hinge", inputs.sharpness * inputs.beta)
