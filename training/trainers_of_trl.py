"""What objectives built on the same TRL trainer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trl import DPOConfig, DPOTrainer

from training.objectives import ObjectiveInputs


def pair_trainer(inputs: ObjectiveInputs, loss: str, beta: float) -> DPOTrainer:
    """TRL's DPOTrainer with one of its losses and TRL's own `beta`; the reference is the model with the adapter off."""
    return DPOTrainer(
        model=inputs.model,
        args=DPOConfig(**inputs.arguments, beta=beta, loss_type=[loss], max_length=None),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )


def sampling(inputs: ObjectiveInputs) -> dict[str, Any]:
    """Arguments of the trainers that sample: from the policy as it is (temperature 1, no truncation of the distribution)."""
    return dict(
        **inputs.arguments,
        beta=inputs.beta,
        num_generations=inputs.settings["samples_per_prompt"],
        num_iterations=inputs.settings["updates_per_sample"],
        max_completion_length=inputs.max_new_tokens,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
    )


def reward_function(inputs: ObjectiveInputs) -> Callable[..., list[float]]:
    """The objective's reward as these trainers call it."""
    eos = inputs.tokenizer.eos_token_id

    def reward(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        kept = [[i for i in ids if i != eos] for ids in completion_ids]
        return inputs.reward(prompts, completions, kept, [eos in ids for ids in completion_ids])

    return reward
