"""What the claims of a task are decided from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dera.estimators import Array
from eval.judging import Judging, Objective
from eval.other_references import Mixtures
from eval.policies import Policy, applicable, find, together
from eval.readings import Readings
from eval.several_rewards import Point
from eval.statistics import Measurement, measure

#: A margin is this share of the distance from the reference to the model that DeRa starts from.
MARGIN = 0.2


@dataclass(frozen=True)
class Evidence:
    """What the claims of a task are decided from.

    Attributes:
        task: the task's name.
        policies: all policies of the task.
        judging: the objectives that DeRa starts from, and only these.
        readings: retrained models' completions as other models read them.
        seed: the seed of what is drawn at random while deciding.
        reward_spread: for each objective the standard deviation of its reward over completions of
            the reference.
        seconds_saved: for each objective and training seed the log of the ratio of the seconds that
            retraining the other strengths takes to those that DeRa takes to decode them.
        reference, checked_adapter: folders of the models on which the identities are checked.
        prompts: the held-out prompts.
        several_rewards: the points in the plane of two rewards; empty where the config has no such
            section.
        mixtures: the aligned models mixed with several references; empty where the config has no
            such section.
    """

    task: str
    policies: list[Policy]
    judging: Judging
    readings: Readings = field(default_factory=Readings)
    seed: int = 0
    reward_spread: dict[str, float] = field(default_factory=dict)
    seconds_saved: dict[str, list[float]] = field(default_factory=dict)
    reference: Path = Path()
    checked_adapter: Path = Path()
    prompts: list[str] = field(default_factory=list)
    several_rewards: list[Point] = field(default_factory=list)
    mixtures: Mixtures = field(default_factory=Mixtures)

    @property
    def objectives(self) -> dict[str, Objective]:
        """The objectives that DeRa starts from, by name."""
        return self.judging.objectives

    def find(self, kind: str, objective: str, **fields: object) -> list[Policy]:
        """Return the policies of a kind as means over seeds, the strongest regularisation first."""
        return find(self.policies, kind, objective=objective, **fields)

    def reference_of(self, objective: str) -> Policy:
        """Return the reference, whose `reward` is that of the objective."""
        (reference,) = self.find("reference", objective)
        return reference

    def default_model(self, objective: str) -> Policy:
        """Return the model retrained at the objective's default strength."""
        beta = self.objectives[objective].default_beta
        (model,) = self.find("retrained", objective, beta=beta)
        return model

    def distance(self, objective: str, anchor: object, quantity: str = "reward") -> Array:
        """Return how far the aligned model of an anchor has moved a measure, less the reference.

        Returns:
            shape (seeds, prompts).
        """
        (aligned,) = self.find("retrained", objective, beta=anchor)
        return self.change(aligned, self.reference_of(objective), quantity)

    def difference(self, first: Policy, second: Policy, quantity: str = "reward") -> Measurement:
        """Return the mean of first - second over the seeds that both have, paired by prompt."""
        return measure(self.change(first, second, quantity))

    def change(self, first: Policy, second: Policy, quantity: str) -> Array:
        """Return first - second for each seed that both have and each prompt."""
        of_first, of_second = together(quantity, first, second)
        return of_first - of_second


def mean(policy: Policy, quantity: str) -> float:
    """Return the mean over the prompts that a measure applies to."""
    return float(applicable(policy.per_prompt[quantity]).mean())


def mean_over_all(values: Array) -> float:
    """Return the mean over seeds and over the prompts that a measure applies to."""
    return float(np.nanmean(values))
