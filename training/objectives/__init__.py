"""Alignment objectives: one module each.

A module offers

- `DATA`: what it learns from, "prompts" (it samples, and the task's reward judges) or "preferences" (labelled pairs);
- `make_trainer(inputs) -> transformers.Trainer`: its TRL trainer, where `inputs.beta` is the strength in `E[r] - beta * KL`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: (prompts, completions, completion_ids without special tokens, whether each ended by itself) -> one reward a completion
Reward = Callable[[Sequence[str], Sequence[str], Sequence[Sequence[int]], Sequence[bool]], list[float]]


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective's trainer is made from.

    `dataset` has a column `prompt`, or `prompt`, `chosen` and `rejected` where `DATA` is "preferences". `arguments`
    are those every TRL config takes, `settings` the objective's own section of the config. `sharpness` is what a unit
    of reward is worth to the labeller of the preference pairs: they were preferred with probability sigmoid(sharpness * difference in reward).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dataset: Dataset
    reward: Reward
    beta: float
    adapter: LoraConfig
    arguments: dict[str, Any]
    settings: dict[str, Any]
    max_new_tokens: int
    sharpness: float


def available() -> list[str]:
    """Names of the objectives that can be put in a config."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """Import the objective's module."""
    return importlib.import_module(f"training.objectives.{name}")
