"""Settings of the jobs that summarise a task's completions or judge claims by them.

`eval.summarize`, `eval.pick_samples`, `eval.several_rewards` and `eval.decide` all get these
settings. Strengths and mixing weights are exact fractions of what the config says, because rows of
tables and policies are selected by them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from fractions import Fraction
from typing import Annotated, Any, Literal

import pydantic

from study import job
from tasks.text.rates import JudgeErrors


def _exact(number: Any) -> Fraction:
    """Return the number that was written, not the float nearest to it."""
    return Fraction(str(number))


#: A beta or a mixing weight: 0.1, "0.1" and "1/10" are the same number.
Exact = Annotated[Fraction, pydantic.BeforeValidator(_exact)]


@job.settings_class
class Statistics:
    """How often prompts are resampled for the intervals of the curve over lam."""

    bootstrap_resamples: int


@job.settings_class
class Objective:
    """What a judging job knows about one objective of the task.

    `reward` is what training maximised: a column of the table of completions, or the weights of
    several columns. `optimum` says whether the true optimum is known in closed form. `default_beta`
    is the anchor that decodes the fine grid of lams; an objective that DeRa does not start from has
    no anchors and no default.
    """

    reward: str | dict[str, float]
    optimum: Literal["known", "unknown"]
    betas: tuple[Exact, ...]
    anchors: tuple[Exact, ...]
    default_beta: Exact | None
    seeds: tuple[int, ...]

    @property
    def first_seed(self) -> int:
        """The smallest seed, which the jobs that use one aligned model take."""
        return min(self.seeds)


@job.settings_class
class SeveralRewards:
    """The config's section `several_rewards`.

    `objectives` names the two objectives whose aligned models are mixed. `joint` has the weights of
    the two rewards for each objective that was trained on their weighted sum. `beyond` has further
    pairs of mixing weights.
    """

    objectives: tuple[str, str]
    joint: dict[str, tuple[Exact, Exact]]
    beyond: tuple[tuple[Exact, Exact], ...] = ()


@job.settings_class
class Judging:
    """The settings of a job that summarises or judges the policies of one task.

    Baselines start from the default anchor of `main_objective`. `reweighted` has the knobs of the
    baselines that are not decoded but reweight the reference's completions, by the names of their
    files in eval/baselines: {"best_of_n": ["2", "4"]}. `judge_errors` says how often the task's
    judge of refusals is wrong; it is None where the judge is exact.
    """

    statistics: Statistics
    objectives: dict[str, Objective]
    main_objective: str
    reweighted: dict[str, tuple[Exact, ...]] = field(default_factory=dict)
    several_rewards: SeveralRewards | None = None
    judge_errors: JudgeErrors | None = None

    def __post_init__(self) -> None:
        if self.main_objective not in self.objectives:
            known = ", ".join(self.objectives)
            raise ValueError(
                f"main_objective = {self.main_objective!r} is no objective; allowed: {known}"
            )

    @property
    def main(self) -> Objective:
        """The main objective."""
        return self.objectives[self.main_objective]

    def with_anchors(self) -> Judging:
        """Return the same settings with only the objectives that DeRa starts from."""
        realigned = {}
        for name, objective in self.objectives.items():
            if objective.anchors:
                realigned[name] = objective
        return dataclasses.replace(self, objectives=realigned)

    def reweighted_for(self, objective: str) -> dict[str, tuple[Fraction, ...]]:
        """Return the knobs in `reweighted` if this is the main objective, and none otherwise."""
        return self.reweighted if objective == self.main_objective else {}
