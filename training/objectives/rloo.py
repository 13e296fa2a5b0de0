"""RLOO (Ahmadian et al., 2024): policy gradient on `r - beta * log(pi / pi_ref)` with a leave-one-out baseline.

TRL puts the sequence-level log-ratio into the reward, so its `beta` is the strength of the paper's objective, as it stands.
"""

from __future__ import annotations

from typing import Any

from trl import RLOOConfig, RLOOTrainer

from training.objectives import ObjectiveInputs

DATA = "prompts"


def make_trainer(inputs: ObjectiveInputs) -> RLOOTrainer:
    """TRL's RLOOTrainer, sampling from the policy as it is (temperature 1, no truncation of the distribution)."""
    eos = inputs.tokenizer.eos_token_id

    def reward(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        kept = [[i for i in ids if i != eos] for ids in completion_ids]
        return inputs.reward(prompts, completions, kept, [eos in ids for ids in completion_ids])

    return RLOOTrainer(
        model=inputs.model,
        reward_funcs=[reward],
        args=RLOOConfig(
            **inputs.arguments,
            beta=inputs.beta,
            num_generations=inputs.settings["samples_per_prompt"],
            num_iterations=inputs.settings["updates_per_sample"],
            max_completion_length=inputs.max_new_tokens,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
        ),
        train_dataset=inputs.dataset,
        processing_class=inputs.tokenizer,
        peft_config=inputs.adapter,
    )
