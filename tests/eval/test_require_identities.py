"""Continuous integration fails when an identity breaks, and when one was not checked."""

from eval.require_identities import broken


def claim(
    name: str, task: str | None = None, verdict: str = "reproduced", must_hold: bool = True
) -> dict:
    return {"id": name, "task": task, "verdict": verdict, "must_hold": must_hold}


EXACT, SAFETY = claim("exact-identity"), claim("safety-per-token-identity", "safety")
LENGTH = claim("length-per-token-identity", "length")


def test_the_exact_identity_and_that_of_every_task_must_have_been_checked_and_hold():
    assert (
        broken(
            [
                EXACT,
                LENGTH,
                SAFETY,
                claim("length-agreement-rloo-1", "length", "not reproduced", must_hold=False),
            ]
        )
        == []
    )
    assert broken([EXACT, LENGTH | {"verdict": "not reproduced"}, SAFETY]) == [
        "length-per-token-identity"
    ]
    assert broken([EXACT | {"verdict": "not reproduced"}, LENGTH]) == ["exact-identity"]
    assert broken([EXACT, LENGTH | {"must_hold": False}]) == ["length-per-token-identity"]
    assert broken([]) == ["exact-identity"]


def test_a_task_of_which_the_identity_was_not_checked_is_named():
    others = [claim("safety-refusal-dpo", "safety", must_hold=False)]
    assert broken([EXACT, LENGTH, *others]) == ["safety-per-token-identity"]
