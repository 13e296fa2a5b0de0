"""Typed settings that several training jobs share. Those of a single job are in its module.

They hold sections of the config, which `config/schema.yaml` describes.
"""

from __future__ import annotations

import math
from dataclasses import field
from typing import Literal

from study.job import settings_class


@settings_class
class OptimiserSettings:
    """How a model is trained: what SFT, the reward model and every objective have in common.

    A step has `batch_size` examples. It computes `micro_batch_size` of them at once, or all.
    `gradient_checkpointing` computes activations twice, which takes time and saves memory.
    """

    steps: int
    batch_size: int
    learning_rate: float
    schedule: str
    warmup_steps: int
    log_every: int
    save_every: int
    micro_batch_size: int | None = field(default=None, kw_only=True)
    gradient_checkpointing: bool = field(default=False, kw_only=True)

    @property
    def at_once(self) -> int:
        """How many examples of a step are computed at once."""
        return self.micro_batch_size or self.batch_size


@settings_class
class PreferenceSettings:
    """The config's section `preferences`: how many pairs are made, and who writes and labels them.

    The labeller's `sharpness` and `length_bias` belong to pairs sampled from the reference, and so
    does the number of `completions` of a prompt. Pairs that the task writes need no labeller, and
    then `sharpness` is absent.
    """

    pairs: int
    batch_size: int
    source: Literal["reference", "task"] = "reference"
    completions: int = 2
    sharpness: float | None = None
    length_bias: float = 0.0

    @property
    def pairs_of_a_prompt(self) -> int:
        """How many pairs are asked for when a prompt is taken once."""
        return 1 if self.source == "task" else math.comb(self.completions, 2)
