"""The claims of the paper and our own, each decided by a criterion written before the run.

A module of this folder makes one kind of claim, or two that belong together; `checks`, `evidence`
and `lam_grid` help the others. A module of claims offers `decide(evidence) -> list[Claim]`, which
is called once for each task. Every verdict follows from numbers, and nothing in a claim is written
by hand after a run.

A verdict is one of four. A claim is `reproduced` if every condition of its criterion holds, and
`not reproduced` if one of them fails. Each condition is decided by a one-sided test of level 5%;
the level at which one of several conditions fails is divided by their number. Where neither is
found, the verdict is `inconclusive`. A claim whose premise is not met, or which has fewer training
seeds or prompts than its criterion asks for, is `not tested here`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from eval.claims.checks import Condition, Outcome, fail_level, row
from eval.claims.evidence import Evidence, mean, mean_over_all
from study.prospects import MIN_PROMPTS, MIN_SEEDS

__all__ = [
    "FAILED",
    "INCONCLUSIVE",
    "MIN_SEEDS",
    "PAPER",
    "REPRODUCED",
    "UNTESTED",
    "VERDICTS",
    "Claim",
    "Evidence",
    "mean",
    "mean_over_all",
    "verdict",
]

REPRODUCED = "reproduced"
FAILED = "not reproduced"
INCONCLUSIVE = "inconclusive"
UNTESTED = "not tested here"
VERDICTS = (REPRODUCED, FAILED, INCONCLUSIVE, UNTESTED)

#: The three parts of the page of claims.
Part = Literal["paper", "limit", "premise"]

#: What the paper claims, in our words; a claim of ours says which of these it tests.
PAPER = {
    "exact": "Other strengths are geometric mixtures of reference and one aligned model.",
    "interpolation": "DeRa agrees with retraining at stronger regularisation (lam < 1).",
    "extrapolation": "DeRa agrees with retraining at weaker regularisation (lam > 1).",
    "smooth": "DeRa moves smoothly from the unaligned to the aligned model.",
    "strength": "DeRa finds strengths that beat the default, up to 0.9 wins.",
    "hallucination": "DeRa controls hallucination by the level of alignment.",
    "chat": "On chat, high lam warns where low lam complies with harm.",
    "cost": "No retraining; two models in memory; twice the decoding time.",
    "hacking": "Too weak a regularisation is hacked, too strong brings little.",
}


@dataclass(frozen=True)
class Claim:
    """One claim, its criterion, and what the evidence says about it.

    `part` says where the claim stands on the page: among the paper's claims, the limits of the
    method, or the premises and checks. `about` is a key of `PAPER`, or None where the claim is
    ours. `answers` has the keys of the questions in `eval.questions` that the claim answers.
    `criterion` was written before the run. `headline` has the numbers that decide, in a line, and
    `brief` has one of them in a few words, for the study's first table. `must_hold` marks
    mathematical identities: if one of them fails, this project has a defect. A claim is not tested
    until it gets a verdict.
    """

    id: str
    part: Part
    claim: str
    source: str
    criterion: str
    about: str | None = None
    answers: tuple[str, ...] = ()
    task: str | None = None
    figure: str | None = None
    must_hold: bool = False
    verdict: str = UNTESTED
    headline: str = ""
    brief: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)

    def decided(
        self, verdict: str, headline: str, evidence: dict[str, Any], brief: str = ""
    ) -> Claim:
        """Return this claim with its verdict and the numbers it rests on."""
        return dataclasses.replace(
            self, verdict=verdict, headline=headline, evidence=evidence, brief=brief
        )

    def not_tested(self, why: str, evidence: dict[str, Any] | None = None) -> Claim:
        """Return this claim without a verdict, with the reason in place of numbers."""
        return self.decided(UNTESTED, why, {"why": why, **(evidence or {})})

    def judged(
        self,
        conditions: list[Condition],
        headline: str,
        evidence: dict[str, Any],
        min_seeds: int = MIN_SEEDS,
        brief: str = "",
    ) -> Claim:
        """Return this claim with the verdict that follows from its conditions.

        Args:
            conditions: what the criterion asks for, with what was measured.
            headline, evidence, brief: as for `decided`; a table of the conditions is added.
            min_seeds: with fewer training seeds the claim is not tested.
        """
        if not conditions:
            return self.not_tested("There is nothing to decide it by.", evidence)
        seeds = min(condition.measured.seeds for condition in conditions)
        # a number a seed, such as a ratio of times, rests on no prompts
        over_prompts = [item.measured.prompts for item in conditions if item.measured.prompts]
        prompts = min(over_prompts, default=MIN_PROMPTS)
        level = fail_level(len(conditions))
        table = [row(condition, level) for condition in conditions]
        numbers = {"training seeds": seeds, **evidence, "conditions": table}
        why = _too_few(seeds, min_seeds, "training seed") or _too_few(
            prompts, MIN_PROMPTS, "prompt"
        )
        if why:
            return self.decided(UNTESTED, f"{why} {headline}", numbers, brief)
        return self.decided(verdict(conditions), headline, numbers, brief)


def _too_few(count: int, needed: int, name: str) -> str:
    """Return a sentence that says that there are too few of something, or an empty text."""
    if count >= needed:
        return ""
    there_are = f"there is 1 {name}" if count == 1 else f"there are {count}"
    return f"The criterion needs {needed} {name}s, and {there_are}."


def verdict(conditions: list[Condition]) -> str:
    """Return "reproduced" if every condition holds, "not reproduced" if one fails."""
    if not conditions:
        return UNTESTED
    level = fail_level(len(conditions))
    outcomes = [condition.check.outcome(condition.measured, level) for condition in conditions]
    if Outcome.FAILS in outcomes:
        return FAILED
    if all(outcome is Outcome.HOLDS for outcome in outcomes):
        return REPRODUCED
    return INCONCLUSIVE
