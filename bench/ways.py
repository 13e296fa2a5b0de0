"""The ways of decoding, and of holding a pair in memory, that the benchmarks compare.

Tables and figures call them what this module says.

This module imports no torch, so that tables and figures of the records need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One way of decoding, or of holding a pair in memory.

    Attributes:
        described: what the table calls it, in Markdown.
        label: what the figure calls it, in fewer words.
    """

    described: str
    label: str


#: The ways of decoding by the names that they have in the benchmark's records (as `method`), in the
#: order of tables and figures.
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
    "generate compiled": Way(
        "one model, transformers' `generate`, compiled", "one model, generate, compiled"
    ),
    "plain compiled": Way("**ours**: two models, compiled", "ours: two, compiled"),
    "one pass compiled": Way(
        "**ours**: a base and its adapter, in one pass, compiled", "ours: one pass, compiled"
    ),
    "reading": Way("reading one model's weights, once for each step", "reading the weights"),
}

#: The ways with one model, to which others are compared. Tables and figures show the first.
ONE_MODEL = ("loop", "generate", "generate compiled")

#: The way of decoding one model as each way of ours decodes two.
LIKE = {
    "plain": "loop",
    "one pass": "loop",
    "speculative": "loop",
    "plain compiled": "generate compiled",
    "one pass compiled": "generate compiled",
}


def ratio_to(way: str) -> str:
    """Return what records call the ratio of a time to that of a way."""
    return f"ratio_to_{way.replace(' ', '_')}"


#: The ways of holding a pair in memory by their names in the records (as `way`), in the order of
#: tables and figures.
HOLDINGS = {
    "two models": Way("two models, 32 bits", "two models, 32 bits"),
    "adapter": Way("a base and its adapter, 32 bits", "base and adapter, 32 bits"),
    "two models, 16 bits": Way("two models, 16 bits", "two models, 16 bits"),
    "adapter, 16 bits": Way("a base and its adapter, 16 bits", "base and adapter, 16 bits"),
    "adapter, 8 bits": Way("a base in 8 bits and its adapter", "base in 8 bits, adapter"),
    "adapter, 4 bits": Way("a base in 4 bits and its adapter", "base in 4 bits, adapter"),
    "adapter, from disk": Way(
        "a base and its adapter, 32 bits, layers read from disk when they are run",
        "base and adapter, from disk",
    ),
}

#: The way of holding a pair to which the others are compared.
WHOLE = "two models"

#: A smaller KL between two ways of holding a pair, in nats a completion, is rounding.
ROUNDING = 1e-3


def batches_of(columns: Iterable[str]) -> list[int]:
    """Return the sizes of batches that were timed, from the columns of records of holdings."""
    names = [name.removeprefix("batch ") for name in columns if name.startswith("batch ")]
    return [int(name) for name in names if name.isdigit()]
