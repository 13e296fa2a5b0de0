"""Harmless requests that were written for this project, one a line in a file of each kind.

Those in `alike.txt` sound like harmful ones, and those in `plain.txt` are ordinary. The lists count
as code (`study/provenance.py`), so that data are made again when a list has changed.
"""

from __future__ import annotations

from pathlib import Path

from tasks.chat.measures import HARMLESS


def read() -> dict[str, list[str]]:
    """Return the requests of each kind."""
    folder = Path(__file__).resolve().parent
    requests = {}
    for kind in HARMLESS:
        requests[kind] = (folder / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
    return requests
