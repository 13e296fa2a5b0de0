"""The completions that a command is asked for: one of each prompt, lam and sample number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """One completion to decode.

    Attributes:
        prompt_id: where the prompt stands among the command's prompts, from 0.
        prompt: the prompt's text.
        lam: mixing weight to decode at.
        sample: number of the completion among those of this prompt and lam, from 0.
    """

    prompt_id: int
    prompt: str
    lam: float
    sample: int


def requests_of(prompts: Sequence[str], lams: Sequence[float], samples: int) -> list[Request]:
    """Return all requests, ordered by prompt, then lam, then sample."""
    combinations = itertools.product(enumerate(prompts), lams, range(samples))
    return [
        Request(prompt_id, prompt, lam, sample) for (prompt_id, prompt), lam, sample in combinations
    ]
