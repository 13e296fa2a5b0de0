"""GRPO (Shao et al., 2024) with its KL penalty: policy gradient on rewards relative to a group's mean, and the KL as a term of the loss.

Three of its choices shape the optimum. Rewards divided by a group's standard deviation would make the strength another for each prompt, so they are not;
sums over tokens divided by a group's lengths would favour some lengths, so all are divided by one constant (Liu et al., 2025, "Dr. GRPO"). And the KL is
summed over tokens, its gradient taken at each without regard to what it costs later (TRL's unbiased form; the plain k3 form would be the gradient
of the KL in the other direction). So `beta` is RLOO's to first order in the reward, and where completions are one token.

Geometric mixing: the fixed point is `pi(a|s) = pi_ref(a|s) * exp(Q(s, a) / beta)`, normalised, with Q the *mean* reward of what follows, where the
optimum of `E[r] - beta * KL` has a soft maximum. Q itself depends on beta, so Proposition 1 does not hold exactly.
"""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer

from training.objectives import ObjectiveInputs
from training.trainers_of_trl import sampling_trainer

DATA = "prompts"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> GRPOTrainer:
    """TRL's GRPOTrainer."""
    return sampling_trainer(
        inputs,
        GRPOTrainer,
        GRPOConfig,
        loss_type="dr_grpo",
        scale_rewards="none",
        use_bias_correction_kl=True,
    )
