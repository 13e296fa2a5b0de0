"""GRPO (Shao et al., 2024): policy gradient on rewards relative to their mean in a group.

The KL to the reference is a penalty in the loss.

Three choices shape the optimum:

- Rewards are not divided by a group's standard deviation, which would change the strength from
  prompt to prompt.
- Sums over tokens are divided by one constant (Liu et al., 2025, "Dr. GRPO"), because division by
  the lengths in a group would favour some lengths.
- The KL is summed over tokens, and its gradient at a token ignores what that token costs later.
  This is TRL's unbiased form. The plain k3 form would have the gradient of KL(pi_ref || pi).

So `beta` means what it means for RLOO to first order in the reward, and exactly where completions
are one token long.

Geometric mixing: the fixed point is `pi(a|s) = pi_ref(a|s) * exp(Q(s, a) / beta)`, normalised,
where Q is the *mean* reward of what follows. The optimum of `E[r] - beta * KL` has a soft maximum
in its place. Q itself depends on beta, so Proposition 1 does not hold exactly.
"""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import sampling_trainer

DATA = "prompts"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> GRPOTrainer:
    """Return TRL's GRPOTrainer."""
    return sampling_trainer(
        inputs,
        GRPOTrainer,
        GRPOConfig,
        loss_type="dr_grpo",
        scale_rewards="none",
        use_bias_correction_kl=True,
    )
