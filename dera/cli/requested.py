"""The completions that a command is asked for: one of each prompt, lam and sample number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

#: More completions than this are taken for a mistake.
MAX_REQUESTS = 10_000_000


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
    """Return all requests, ordered by prompt, then lam, then sample.

    Raises:
        ValueError: as `check_total`.
    """
    check_total(len(prompts), len(lams), samples)
    combinations = itertools.product(enumerate(prompts), lams, range(samples))
    return [
        Request(prompt_id, prompt, lam, sample) for (prompt_id, prompt), lam, sample in combinations
    ]


def check_total(prompts: int, lams: int, samples: int) -> None:
    """Refuse more completions than the memory and a file are likely to hold.

    Raises:
        ValueError: naming the number.
    """
    total = prompts * lams * samples
    if total > MAX_REQUESTS:
        raise ValueError(
            f"{prompts} prompts at {lams} lam with {samples} samples are {total} completions, and "
            f"at most {MAX_REQUESTS} are allowed: give a smaller --samples, or fewer lams"
        )


def request_of(row: Any) -> Request | None:
    """Return the request that a row answers; None if it is no such row."""
    try:
        request = Request(*(row[name] for name in Request._fields))
        hash(request)
    except (TypeError, KeyError):
        return None
    return request
