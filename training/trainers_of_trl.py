"""What objectives built on the same TRL trainer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from trl import DPOConfig, DPOTrainer

from training.objectives import ObjectiveInputs

Trainer = TypeVar("Trainer")


def pair_trainer(inputs: ObjectiveInputs, loss: str, beta: float) -> DPOTrainer:
    """TRL's DPOTrainer with one of its losses and TRL's own `beta`; the reference is the model with the adapter off."""
    return DPOTrainer(
        model=inputs.model,
        args=DPOConfig(**inputs.arguments, beta=beta, loss_type=[loss], max_length=None),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )


def sampling_trainer(
    inputs: ObjectiveInputs,
    trainer: Callable[..., Trainer],
    config: Callable[..., Any],
    **choices: Any,
) -> Trainer:
    """A TRL trainer that samples from the policy as it is (temperature 1, no truncation of the distribution).

    Args:
        trainer, config: TRL's classes.
        choices: arguments of the config that are the objective's own.
    """
    return trainer(
        model=inputs.model,
        reward_funcs=[_reward_function(inputs)],
        args=config(
            **inputs.arguments,
            beta=inputs.beta,
            num_generations=inputs.settings["samples_per_prompt"],
            num_iterations=inputs.settings["updates_per_sample"],
            max_completion_length=inputs.max_new_tokens,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            **choices,
        ),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )


def _reward_function(inputs: ObjectiveInputs) -> Callable[..., list[float]]:
    """The objective's reward as these trainers call it."""
    eos = inputs.tokenizer.eos_token_id

    def reward(
        prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        kept = [[i for i in ids if i != eos] for ids in completion_ids]
        return inputs.reward(prompts, completions, kept, [eos in ids for ids in completion_ids])

    return reward
