"""Continuous integration fails when an identity breaks, and when one was not checked."""

from eval.require_identities import broken


def claim(name: str, verdict: str = "reproduced", must_hold: bool = True) -> dict:
    return {"id": name, "verdict": verdict, "must_hold": must_hold}


def test_both_identities_must_have_been_checked_and_hold():
    both = [claim("exact-identity"), claim("per-token-identity")]
    assert broken([*both, claim("agreement", "not reproduced", must_hold=False)]) == []
    assert broken(both[:1]) == ["per-token-identity"]
    assert broken([both[0], claim("per-token-identity", "not reproduced")]) == ["per-token-identity"]
    assert len(broken([])) == 2
