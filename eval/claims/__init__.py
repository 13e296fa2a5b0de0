"""The paper's claims, each decided by a criterion that was written before the run: one module a claim or two.

A module offers `decide(evidence) -> list[Claim]`, called once for each task. The verdict follows from numbers; nothing here is written by hand.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dera.estimators import Array, Estimate, bootstrap_mean
from eval.policies import Policy, applicable
from eval.several_rewards import Point

REPRODUCED, PARTLY, FAILED, UNTESTED = "reproduced", "partly", "not reproduced", "not tested here"

#: What the paper claims, in our words; a claim of ours says which of these it tests.
PAPER = {
    "exact": "Aligned models at other strengths are geometric mixtures of the reference and one aligned model.",
    "agreement": "The sampler approximates them: DeRa at beta/lam agrees with models retrained at beta/lam.",
    "smooth": "It moves smoothly between the unaligned and the aligned model, and beyond.",
    "strength": "It finds better strengths than the default (summarisation: win rates over the default of up to 0.9), worth retraining at.",
    "hallucination": "It controls hallucination by the level of alignment.",
    "chat": "It works on a chat pair: low lam complies with a harmful request, high lam warns.",
    "cost": "It costs no retraining, two models in memory, and about twice the decoding time.",
    "hacking": "Too weak a regularisation brings reward hacking, too strong a one little alignment.",
    "ours": "Questions of ours: has training converged, where does DeRa fail, and can that be foreseen?",
}


@dataclass(frozen=True)
class Claim:
    """One claim: `about` is a key of PAPER, `headline` the numbers in a line, `must_hold` marks mathematical identities,
    whose failure is a defect of this project."""

    id: str
    about: str
    claim: str
    source: str
    criterion: str
    verdict: str
    headline: str
    evidence: dict[str, Any]
    task: str | None = None
    figure: str | None = None
    must_hold: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a task's claims are decided from: its policies per prompt, the settings, what was spent, and the models themselves.

    `objectives` has for each alignment that DeRa starts from its `reward`, `reward_margin`, `betas`, `anchors`, `default_beta` and `seeds`;
    `several` the points in the plane of two rewards, where the task has a section of that name.
    """

    task: str
    policies: list[Policy]
    objectives: dict[str, dict[str, Any]]
    statistics: dict[str, Any]
    seed: int
    training_seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    sampling_seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: Path = Path()
    anchor: Path = Path()
    prompts: list[str] = field(default_factory=list)
    several_rewards: list[Point] = field(default_factory=list)

    def estimate(self, per_prompt: Array) -> Estimate:
        """Mean over the prompts that the numbers apply to, with its 95% interval."""
        return bootstrap_mean(
            applicable(per_prompt), self.statistics["bootstrap_resamples"], self.seed
        )

    def difference(
        self, first: Policy, second: Policy, quantity: str = "reward"
    ) -> dict[str, float]:
        """Mean difference, with the ends of its 95% interval over prompts (paired)."""
        return asdict(self.estimate(first.per_prompt[quantity] - second.per_prompt[quantity]))


def verdict(passed: int, of: int) -> str:
    """Reproduced if every part of a criterion holds, partly if at least half do."""
    if of == 0:
        return UNTESTED
    return REPRODUCED if passed == of else PARTLY if 2 * passed >= of else FAILED


def untested(text: dict[str, Any], why: str) -> Claim:
    """The claim `text` describes where nothing could be decided, with the reason in place of numbers."""
    return Claim(**text, verdict=UNTESTED, headline=why, evidence={"why": why})


def within(difference: dict[str, float], margin: float) -> bool:
    """Whether the whole interval of a difference lies within +-margin: equivalence."""
    return max(abs(difference["low"]), abs(difference["high"])) <= margin


def mean(policy: Policy, quantity: str) -> float:
    """Mean over the prompts that a measure applies to."""
    return float(applicable(policy.per_prompt[quantity]).mean())


def of_task(evidence: Evidence, name: str) -> str:
    """A claim's id within the study."""
    return f"{evidence.task}-{name}"
