"""Alignment objectives: one module each, in this folder or in a file that the config names.

A module offers at its top

- `DATA`: what it learns from. "prompts" means that it samples completions, which the task's reward
  judges. "preferences" means that it learns from labelled pairs.
- `OPTIMUM`: "known" if its best policy at `beta` is `pi_ref * exp(reward / beta)`. The study then
  compares training with this optimum. Otherwise "unknown", and DeRa is compared with retrained
  models alone. For pairs of the user's own the study takes it as unknown, whatever is said here.
- `make_trainer(inputs) -> transformers.Trainer`: its TRL trainer. `inputs.beta` is the strength in
  `E[r] - beta * KL`. Where the theory has no such strength, the module scales `beta` so that it
  means the same to first order in the reward, and says so.

Some losses see the policy only through `beta * (h(chosen) - h(rejected))`, where
`h = log(pi / pi_ref)` of whole completions. DPO, SLiC and the paper's form of IPO are of this kind.
Such a loss has its minimum at `h = f / beta + const`, with one function f for every beta. Then
Proposition 1 holds with f in place of the reward, whatever f is: mixing at lam is the same as
retraining at beta / lam.
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

#: Returns one reward for each completion. Its arguments are the prompts, the completions, the
#: completions' token ids without special tokens, and whether each completion ended by itself.
Reward = Callable[
    [Sequence[str], Sequence[str], Sequence[Sequence[int]], Sequence[bool]], list[float]
]


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective's trainer is made from.

    Attributes:
        model: the reference, to which the trainer adds the adapter.
        tokenizer: its tokenizer, which pads on the left.
        dataset: a column `prompt`, and where `DATA` is "preferences" also `chosen` and `rejected`,
            and, if the reference sampled the pairs in float32, their log-probabilities under it,
            `ref_chosen_logps` and `ref_rejected_logps`.
        reward: judges completions, where `DATA` is "prompts".
        beta: the strength in `E[r] - beta * KL`.
        adapter: the adapter to train.
        arguments: what every TRL config takes.
        settings: the objective's own section of the config.
        max_new_tokens: completions that are sampled are cut there.
        sharpness: what a unit of reward is worth to the labeller of the preference pairs. One
            completion was preferred with probability sigmoid(sharpness * difference in reward).
            It is 1 for pairs of the user's own: their reward is what their labeller likes, in
            log-odds, so TRL's beta is `beta`.
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
    """Import an objective by its name, the path of its file, or its entry point.

    Entry points of objectives are in the group `dera.objectives`.

    Raises:
        study.modules.ModuleError: if there is none, if it cannot be imported, or if it defines no
            `make_trainer`.
    """
    module = modules.find("training.objectives", name)
    loaded = modules.load(module)
    if not callable(getattr(loaded, "make_trainer", None)):
        raise modules.ModuleError(
            f"{modules.file_of(module)} must define a function make_trainer(inputs)"
        )
    return loaded
