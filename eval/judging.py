"""Settings of the jobs that summarise a task's completions or judge claims by them.

`eval.summarize`, `eval.pick_samples`, `eval.several_rewards` and `eval.decide` all get these settings.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from study.job import settings_class


@settings_class
class Statistics:
    """How sure a result must be: the config's section `statistics`."""

    bootstrap_resamples: int
    rank_correlation: float


@settings_class
class Objective:
    """One alignment objective of a task.

    Strengths are written exactly, as in file names ("0.25"). `reward` is the column of the
    completions that the objective maximised, or the weights of several columns. `default_beta` is
    the default strength, None where DeRa starts from no model of this objective.
    """

    reward: str | dict[str, float]
    reward_margin: float
    optimum: Literal["known", "unknown"]
    betas: list[str]
    anchors: list[str]
    default_beta: str | None
    seeds: list[int]


@settings_class
class SeveralRewards:
    """The config's section `several_rewards`.

    `objectives` are the two that are mixed, `joint` the weights that each jointly trained
    objective gives their rewards, `beyond` further pairs of mixing weights.
    """

    objectives: list[str]
    joint: dict[str, list[float]]
    beyond: list[list[float]] = field(default_factory=list)


@settings_class
class Judging:
    """What completions are summarised and judged with.

    `main_objective` is the one that has baselines. `reweighted` has the knobs of the baselines that
    reweight the reference's completions ({"best_of_n": [2, 4]}).
    """

    statistics: Statistics
    objectives: dict[str, Objective]
    main_objective: str
    reweighted: dict[str, list[float]] = field(default_factory=dict)
    several_rewards: SeveralRewards | None = None
