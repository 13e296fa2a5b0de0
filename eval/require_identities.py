"""Fail if a claim that must hold, one of the two identities, does not: for continuous integration.

Usage: python -m eval.require_identities results/smoke/claims.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from eval.claims import REPRODUCED
from study import job


def broken(claims: list[dict]) -> list[str]:
    """Ids of the claims that must hold and do not; the exact identity, and one of each task, must be there."""
    held = {
        claim["id"] for claim in claims if claim["must_hold"] and claim["verdict"] == REPRODUCED
    }
    tasks = {claim["task"] for claim in claims} - {None}
    return sorted({"exact-identity", *(f"{task}-per-token-identity" for task in tasks)} - held)


if __name__ == "__main__":
    failed = broken(job.read_json(Path(sys.argv[1])))
    if failed:
        sys.exit(f"{sys.argv[1]}: must hold and does not: {', '.join(failed)}")
    print("the identities hold")
