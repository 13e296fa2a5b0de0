"""The claims of the paper and our own, each decided by a criterion written before the run.

A module of this folder makes one kind of claim, or two that belong together; `checks` and
`lam_grid` help the others. A module of claims offers `decide(evidence) -> list[Claim]`, which is
called once for each task. Every verdict follows from numbers, and nothing in a claim is written by
hand after a run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dera.estimators import Array, Estimate, bootstrap_mean
from eval.judging import Judging, Objective, Statistics
from eval.policies import Policy, applicable
from eval.several_rewards import Point

REPRODUCED = "reproduced"
PARTLY = "partly"
FAILED = "not reproduced"
UNTESTED = "not tested here"

#: What the paper claims, in our words; a claim of ours says which of these it tests.
PAPER = {
    "exact": (
        "Aligned models at other strengths are geometric mixtures of the reference and one aligned "
        "model."
    ),
    "agreement": (
        "The sampler approximates them: DeRa at beta/lam agrees with models retrained at beta/lam."
    ),
    "smooth": "DeRa moves smoothly between the unaligned and the aligned model, and beyond.",
    "strength": (
        "DeRa finds better strengths than the default (in summarisation it wins up to 0.9 of the "
        "comparisons with the default), and these are worth retraining at."
    ),
    "hallucination": "DeRa controls hallucination by the level of alignment.",
    "chat": (
        "DeRa works on a chat model: low lam complies with a harmful request, high lam warns."
    ),
    "cost": (
        "DeRa needs no retraining; it takes two models in memory and about twice the decoding time."
    ),
    "hacking": (
        "Too weak a regularisation brings reward hacking, too strong a one brings little alignment."
    ),
    "ours": (
        "These questions are ours: has training converged, where does DeRa fail, and can the "
        "failure be foreseen?"
    ),
}


@dataclass(frozen=True)
class Claim:
    """One claim, its criterion, and what the evidence says about it.

    `about` is a key of `PAPER`. `answers` has the keys of the questions in `eval.questions` that
    the claim answers. `criterion` was written before the run. `headline` has the numbers that
    decide, in a line. `must_hold` marks mathematical identities: if one of them fails, this project
    has a defect. A claim is not tested until `decided` gives it a verdict.
    """

    id: str
    about: str
    claim: str
    source: str
    criterion: str
    answers: tuple[str, ...] = ()
    task: str | None = None
    figure: str | None = None
    must_hold: bool = False
    verdict: str = UNTESTED
    headline: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def decided(self, verdict: str, headline: str, evidence: dict[str, Any]) -> Claim:
        """Return this claim with its verdict and the numbers it rests on."""
        return dataclasses.replace(self, verdict=verdict, headline=headline, evidence=evidence)

    def not_tested(self, why: str) -> Claim:
        """Return this claim without a verdict, with the reason in place of numbers."""
        return self.decided(UNTESTED, why, {"why": why})


@dataclass(frozen=True)
class Evidence:
    """What the claims of a task are decided from.

    `judging` has the objectives that DeRa starts from, and only these. `checked_adapter` is the
    folder of the aligned model on which the identities are checked. `several_rewards` has the
    points in the plane of two rewards; it is empty where the config has no such section.
    """

    task: str
    policies: list[Policy]
    judging: Judging
    seed: int
    training_seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    sampling_seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: Path = Path()
    checked_adapter: Path = Path()
    prompts: list[str] = field(default_factory=list)
    several_rewards: list[Point] = field(default_factory=list)

    @property
    def objectives(self) -> dict[str, Objective]:
        """The objectives that DeRa starts from, by name."""
        return self.judging.objectives

    @property
    def statistics(self) -> Statistics:
        """How intervals and correlations are judged."""
        return self.judging.statistics

    def estimate(self, per_prompt: Array) -> Estimate:
        """Return the mean over the prompts that a measure applies to, with its 95% interval."""
        resamples = self.statistics.bootstrap_resamples
        return bootstrap_mean(applicable(per_prompt), resamples, self.seed)

    def difference(
        self, first: Policy, second: Policy, quantity: str = "reward"
    ) -> dict[str, float]:
        """Return the mean of first - second, paired by prompt, and the ends of its 95% interval."""
        per_prompt = first.per_prompt[quantity] - second.per_prompt[quantity]
        return asdict(self.estimate(per_prompt))


#: How `verdict` treats several conditions; it ends the criterion of every claim that has them.
PARTLY_IF_HALF = "The claim is partly reproduced if at least half of these conditions hold."


def verdict(conditions: list[bool]) -> str:
    """Return "reproduced" if every condition holds, "partly" if at least half of them do."""
    if not conditions:
        return UNTESTED
    if all(conditions):
        return REPRODUCED
    return PARTLY if 2 * sum(conditions) >= len(conditions) else FAILED


def mean(policy: Policy, quantity: str) -> float:
    """Return the mean over the prompts that a measure applies to."""
    return float(applicable(policy.per_prompt[quantity]).mean())
