"""Continuous integration fails when an identity breaks, and when one was not checked."""

from eval.require_identities import broken


def claim(
    name: str, task: str | None = None, verdict: str = "reproduced", must_hold: bool = True
) -> dict:
    return {"id": name, "task": task, "verdict": verdict, "must_hold": must_hold}


EXACT = claim("exact-identity")
LENGTH = claim("length-per-token-identity", "length")
SAFETY = claim("safety-per-token-identity", "safety")
FAILED = {"verdict": "not reproduced"}


def test_the_exact_identity_and_that_of_every_task_must_have_been_checked_and_hold():
    agreement = claim("length-agreement-rloo-1", "length", "not reproduced", must_hold=False)
    assert broken([EXACT, LENGTH, SAFETY, agreement]) == []
    assert broken([EXACT, LENGTH | FAILED, SAFETY]) == ["length-per-token-identity"]
    assert broken([EXACT | FAILED, LENGTH]) == ["exact-identity"]
    assert broken([EXACT, LENGTH | {"must_hold": False}]) == ["length-per-token-identity"]
    assert broken([]) == ["exact-identity"]


def test_a_task_whose_identity_was_not_checked_is_named():
    refusal = claim("safety-refusal-dpo", "safety", must_hold=False)
    assert broken([EXACT, LENGTH, refusal]) == ["safety-per-token-identity"]
