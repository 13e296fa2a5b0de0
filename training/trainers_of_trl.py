"""Make TRL trainers for objectives: a DPOTrainer for pairs, or a trainer that samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from trl import DPOConfig, GRPOTrainer, RLOOTrainer

from training import sampling
from training.log_probs import CHOSEN_LOGP
from training.objectives import ObjectiveInputs
from training.pairs import DPOTrainer

Trainer = TypeVar("Trainer")

#: What takes the place of TRL's trainers that sample.
FASTER: dict[Any, Any] = {
    RLOOTrainer: sampling.RLOOTrainer,
    GRPOTrainer: sampling.GRPOTrainer,
}


def pair_trainer(inputs: ObjectiveInputs, loss: str, beta: float) -> DPOTrainer:
    """Return TRL's DPOTrainer, whose reference is the model with the adapter off.

    In full precision the reference reads nothing: its log-probabilities are those that were found
    when the pairs were sampled. In half precision the policy's are rounded, and the reference's
    must be rounded alike.

    Args:
        inputs: what the objective was given.
        loss: TRL's name of the loss.
        beta: TRL's own `beta`, which the objective derives from `inputs.beta`.
    """
    trainer = DPOTrainer(
        model=inputs.model,
        args=DPOConfig(**inputs.arguments, beta=beta, loss_type=[loss], max_length=None),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
    # TRL's own argument would compute them here, once for each training.
    full_precision = inputs.model.dtype == torch.float32 and not inputs.arguments["bf16"]
    if full_precision and CHOSEN_LOGP in inputs.dataset.column_names:
        trainer.precompute_ref_logps = True
    return trainer


def sampling_trainer(
    inputs: ObjectiveInputs,
    trainer: Callable[..., Trainer],
    config: Callable[..., Any],
    **choices: Any,
) -> Trainer:
    """Return a TRL trainer that samples from the policy itself.

    The temperature is 1 and no token is excluded. TRL's RLOOTrainer and GRPOTrainer sample faster
    here (see `training.sampling`).

    Args:
        inputs: what the objective was given.
        trainer, config: TRL's classes.
        choices: the objective's own arguments of the config.
    """
    return FASTER.get(trainer, trainer)(
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
    """Return the objective's reward in the form in which these trainers call it."""
    eos = inputs.tokenizer.eos_token_id

    def without_eos(ids: list[int]) -> list[int]:
        return [token for token in ids if token != eos]

    def reward(
        prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        finished = [eos in ids for ids in completion_ids]
        return inputs.reward(prompts, completions, list(map(without_eos, completion_ids)), finished)

    return reward
