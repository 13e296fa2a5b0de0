"""KTO (Ethayarajh et al., 2024): each completion by itself is desirable or undesirable.

Here the chosen completion of a pair is desirable and the rejected one is not. With `h = log(pi /
pi_ref)` the loss of a desirable completion is `1 - sigmoid(b * (h - z))`, and the loss of an
undesirable one is `1 - sigmoid(b * (z - h))`. TRL estimates z, the KL to the reference, on
mismatched completions of the batch. As for DPO, `b = sharpness * beta`.

Geometric mixing: the premise of Proposition 1 does not hold, and whether DeRa agrees with
retraining is a matter of experiment. There are two reasons. The sigmoid saturates, so a completion
that is rejected more often than chosen is pushed down without end: the optimum gives it no
probability at any beta, and only the limits of training keep it. And the loss depends on more than
differences of h, because z ties h to its normalisation, which changes with beta.
"""

from __future__ import annotations

from trl import KTOConfig, KTOTrainer, unpair_preference_dataset

from training.objectives import ObjectiveInputs

DATA = "preferences"
OPTIMUM = "unknown"


def make_trainer(inputs: ObjectiveInputs) -> KTOTrainer:
    """Return TRL's KTOTrainer, whose reference is the model with the adapter off."""
    # TRL reads the rows in their order, and `unpair_preference_dataset` puts all chosen completions
    # before the first rejected one. So the rows are shuffled here.
    pairs = inputs.dataset.select_columns(["prompt", "chosen", "rejected"])
    rows = unpair_preference_dataset(pairs).shuffle(seed=inputs.arguments["seed"])
    return KTOTrainer(
        model=inputs.model,
        args=KTOConfig(**inputs.arguments, beta=inputs.sharpness * inputs.beta, max_length=None),
        train_dataset=rows,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
