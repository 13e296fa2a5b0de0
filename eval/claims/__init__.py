"""The paper's claims, each decided by a criterion that was written before the run: one module a claim or two.

A module offers `decide(evidence) -> list[Claim]`. The verdict follows from numbers; nothing here is written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.policies import Policy

REPRODUCED, PARTLY, FAILED, UNTESTED = "reproduced", "partly", "not reproduced", "not tested here"


@dataclass(frozen=True)
class Claim:
    """One claim: `must_hold` marks mathematical identities, whose failure is a defect of this project."""

    id: str
    claim: str
    source: str
    criterion: str
    verdict: str
    evidence: dict[str, Any]
    figure: str | None = None
    must_hold: bool = False


@dataclass(frozen=True)
class Evidence:
    """What claims are decided from: the policies per prompt, the settings, seconds spent, and the models themselves."""

    policies: list[Policy]
    statistics: dict[str, Any]
    seed: int
    training_seconds: dict[str, dict[str, float]]
    sampling_seconds: dict[str, dict[str, float]]
    reference: Path
    anchor: Path
    prompts: list[str]


def verdict(passed: int, of: int) -> str:
    """Reproduced if every part of a criterion holds, partly if at least half do."""
    if of == 0:
        return UNTESTED
    return REPRODUCED if passed == of else PARTLY if 2 * passed >= of else FAILED
