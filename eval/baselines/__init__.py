"""Baselines: other ways to use the same reference and aligned model. Each is one file.

A file in this folder is a baseline. To add one, write a file and name it in the config, in
`dera.baselines`. The file declares at its top, as literals that are read without importing it:

- `NAME`: the `kind` that its policies have in tables;
- `TITLE`: what it is called in a sentence;
- `KNOB`: what its knob is, a short phrase for captions;
- `KNOB_SCHEMA`: the JSON schema of one value of the knob;
- `OPTIONS`: JSON schemas of its further settings by name, `{}` where it has none;
- `PAPER`: who proposed it;
- `PASSES`: how often a model is run for a token, a number, or "knob" where the knob says it;
- `DECODED`: True if it is sampled, False if it reweights the completions of the reference.

A baseline that is decoded defines the rule

    policy(pair, knob, options) -> eval.combining.Combined

where `pair` is a `RealignedModel` of the reference and the aligned model, `knob` a float and
`options` a dictionary with the settings that `OPTIONS` describes. One that is not decoded defines

    weights(rewards, knob) -> array of shape (prompts, samples), which sums to 1 for each prompt
    kl(rewards, knob) -> array of shape (prompts,), KL to the reference in nats

where `rewards` has the rewards of the reference's completions, shape (prompts, samples).
"""

from __future__ import annotations

import functools
from types import ModuleType

from study import modules

PACKAGE = "eval.baselines"


def names() -> list[str]:
    """Names of all baselines as the config has them, which are the names of their files."""
    return modules.names(PACKAGE)


def load(name: str) -> ModuleType:
    """Import a baseline by the name of its file.

    Raises:
        ValueError: if there is no such file.
    """
    if name not in names():
        raise ValueError(f"there is no baseline {name!r}; allowed: {', '.join(names())}")
    return modules.load(f"{PACKAGE}.{name}")


@functools.cache
def passes_by_kind() -> dict[str, int | str]:
    """The declared PASSES of every baseline by its `kind`, read without importing torch."""
    passes = {}
    for name in names():
        module = f"{PACKAGE}.{name}"
        passes[modules.literal(module, "NAME")] = modules.literal(module, "PASSES")
    return passes


def by_kind() -> dict[str, ModuleType]:
    """Every baseline by the `kind` that its policies have in tables."""
    loaded = [load(name) for name in names()]
    return {module.NAME: module for module in loaded}
