"""Alignment objectives: one module each, in this folder or in a file of your own that the config names.

A module offers, at its top,

- `DATA`: what it learns from, "prompts" (it samples, and the task's reward judges) or "preferences" (labelled pairs);
- `OPTIMUM`: "known" if its best policy at `beta` is `pi_ref * exp(reward / beta)`, which the study can then compare training with, else
  "unknown": DeRa is compared with retrained models alone;
- `make_trainer(inputs) -> transformers.Trainer`: its TRL trainer, where `inputs.beta` is the strength in `E[r] - beta * KL`. Where the theory
  has no such strength, `beta` is scaled so that it means the same to first order in the reward, and the module says so.

A loss that sees the policy only through `beta * (h(chosen) - h(rejected))`, with `h = log(pi / pi_ref)` of whole completions, is least at
`h = f / beta + const` with one function f for every beta (DPO, SLiC and the paper's form of IPO are of this kind). Then Proposition 1 holds with f
in place of the reward, whatever f is: mixing at lam is retraining at beta / lam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study import modules

#: (prompts, completions, completion_ids without special tokens, whether each ended by itself) -> one reward a completion
Reward = Callable[
    [Sequence[str], Sequence[str], Sequence[Sequence[int]], Sequence[bool]], list[float]
]


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


def load(name: str) -> ModuleType:
    """Import an objective by its name, the path of its file, or its entry point (group `dera.objectives`).

    Raises:
        study.modules.ModuleError: if there is none, it cannot be imported, or it defines no `make_trainer`.
    """
    module = modules.find("training.objectives", name)
    loaded = modules.load(module)
    if not callable(getattr(loaded, "make_trainer", None)):
        raise modules.ModuleError(
            f"{modules.file_of(module)} must define a function make_trainer(inputs)"
        )
    return loaded
