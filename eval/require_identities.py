"""Fail if an identity, a claim that must hold, does not hold: for continuous integration.

Usage: python -m eval.require_identities results/smoke/claims.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from eval.claims import REPRODUCED
from study import job


def broken(claims: list[dict]) -> list[str]:
    """Return the ids of the claims that must hold and do not.

    The exact identity, and the per-token identity of each task, must have been checked.
    """
    held = set()
    for claim in claims:
        if claim["must_hold"] and claim["verdict"] == REPRODUCED:
            held.add(claim["id"])
    tasks = {claim["task"] for claim in claims} - {None}
    required = {"exact-identity"} | {f"{task}-per-token-identity" for task in tasks}
    return sorted(required - held)


if __name__ == "__main__":
    failed = broken(job.read_json(Path(sys.argv[1])))
    if failed:
        sys.exit(f"{sys.argv[1]}: these claims must hold and do not: {', '.join(failed)}")
    print("the identities hold")
