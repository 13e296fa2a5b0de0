"""Reading what the commands write, and the words of its completions as token ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def token_ids(text: str) -> list[int]:
    """Return the ids of a text of words such as w3."""
    return [int(word[1:]) for word in text.split()]
