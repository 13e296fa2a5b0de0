"""SLiC-HF's hinge loss (Zhao et al., 2023) on log-ratios, as in RSO (Liu et al., 2024).

With TRL's beta `b` and `h = log(pi / pi_ref)` the loss is `max(0, 1 - b * (h(chosen) -
h(rejected)))`. It asks for a margin of `1 / b` between the completion that most labels prefer and
the other completion, and for no more. Here `b = sharpness * beta`. DPO's optimum has the same
margin for a pair whose first completion the labeller prefers at odds of e to 1. For such a pair
both objectives mean the same strength.

Geometric mixing: the loss sees the policy only through `b * (h(chosen) - h(rejected))`. So
Proposition 1 holds, with the function that minimises the hinge loss in place of the reward (see
`training.objectives`). That function has no closed form, because more than two completions cannot
all be one margin apart.
"""

from __future__ import annotations

from trl import DPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import pair_trainer

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> DPOTrainer:
    """Return TRL's DPOTrainer with the hinge loss."""
    return pair_trainer(inputs, "hinge", inputs.sharpness * inputs.beta)
