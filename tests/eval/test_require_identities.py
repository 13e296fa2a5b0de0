"""Continuous integration fails when an identity breaks, and when none was checked."""

from eval.require_identities import broken


def claim(name: str, verdict: str, must_hold: bool) -> dict:
    return {"id": name, "verdict": verdict, "must_hold": must_hold}


def test_only_claims_that_must_hold_count():
    assert broken([claim("identity", "reproduced", True), claim("agreement", "not reproduced", False)]) == []
    assert broken([claim("identity", "not reproduced", True), claim("other", "reproduced", True)]) == ["identity"]
    assert broken([claim("agreement", "reproduced", False)])
