"""The ways of decoding that the benchmark compares, and what tables and figures call them.

This module imports no torch, so that tables and figures of the records need none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One way of decoding.

    Attributes:
        described: what the table calls it, in Markdown.
        label: what the figure calls it, in fewer words.
    """

    described: str
    label: str


#: The ways by the names that they have in the benchmark's records (as `method`), in the order of
#: tables and figures.
WAYS = {
    "generate": Way("one model, transformers' `generate`", "one model, generate"),
    "loop": Way("one model, our loop", "one model, our loop"),
    "two caches": Way("two models, the obvious loop with caches", "two models, obvious loop"),
    "processor": Way(
        "two models, a logits processor (the authors' way)", "logits processor (authors)"
    ),
    "no cache": Way("two models, a wrapper without caches (TRL's way)", "wrapper, no cache (TRL)"),
    "plain": Way("**ours**: two models", "ours: two models"),
    "one pass": Way("**ours**: a base and its adapter, in one pass", "ours: adapter, one pass"),
    "speculative": Way("**ours**: two models, speculative", "ours: two, speculative"),
}
