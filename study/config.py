"""Checking a config before any job starts, and what follows from it: which betas, which lam.

Strengths are compared as fractions of what was written (`0.1 / 0.3` is not a number to compare with).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from study import schema
from study.checks import Objective, check_task, corpus_files
from study.schema import ConfigError


@dataclass(frozen=True)
class Checked:
    """What a config that passed its checks means.

    `corpora` has for each task the corpora it works on ("any", or its "own" alone), `task_modules` and `objectives` (by task and alignment)
    their modules, `corpus_files` the file of each split a task reads.
    """

    task_modules: dict[str, str]
    corpora: dict[str, str]
    objectives: dict[str, dict[str, Objective]]
    corpus_files: dict[str, dict[str, str]] = field(default_factory=dict)

    def plugins(self) -> list[str]:
        """Files of objectives that are not this project's own."""
        used = {
            objective.module for found in self.objectives.values() for objective in found.values()
        }
        return sorted(module for module in used if module.endswith(".py"))


def check(config: Mapping[str, Any]) -> Checked:
    """Check a config, as read from YAML, and say what it means; files of the user's own are looked at, their objectives not imported.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    schema.check(config)
    found = Checked({}, {}, {})
    for name, section in config["tasks"].items():
        found.task_modules[name], found.corpora[name], found.objectives[name] = check_task(
            f"tasks.{name}", name, section
        )
    return found


def check_or_exit(config: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Checked:
    """`check`, and the `corpus_files` of each task, with one line on standard error and exit status 1 instead of a traceback.

    `files` are those the config was read from, which must name no key twice.
    """
    try:
        for path in files:
            schema.refuse_repeated_keys(Path(path))
        found = check(config)
        for name, task in config["tasks"].items():
            found.corpus_files[name] = corpus_files(f"tasks.{name}.corpus", task["corpus"])
        return found
    except ConfigError as error:
        print(f"config error: {error}", file=sys.stderr)
        sys.exit(1)


def label(strength: Any) -> str:
    """How a strength is written in file names and tables: as a decimal, without needless zeros."""
    return format(Decimal(str(strength)).normalize(), "f")


def lams(task: Mapping[str, Any], objective: str, anchor: str) -> list[Fraction]:
    """The mixing weights one anchor decodes: those matching every trained beta, and the fine grid if it is the grid's anchor."""
    section = task["alignment"]["objectives"][objective]
    wanted = {Fraction(anchor) / Fraction(label(beta)) for beta in section["betas"]}
    if "default_beta" in section and label(section["default_beta"]) == anchor:
        wanted |= {Fraction(label(lam)) for lam in task["dera"]["lams"]}
    return sorted(wanted)


def decoded_baselines(task: Mapping[str, Any]) -> dict[str, Any]:
    """The baselines that must be decoded; the best of n needs the reference's completions alone."""
    return {
        name: knobs
        for name, knobs in task["dera"].get("baselines", {}).items()
        if name != "best_of"
    }


def seeds(task: Mapping[str, Any], objective: str) -> list[int]:
    """Seeds of one objective: its own, or the task's."""
    alignment = task["alignment"]
    return list(alignment["objectives"][objective].get("seeds", alignment["seeds"]))


def trainer_settings(task: Mapping[str, Any], objective: str) -> dict[str, Any]:
    """An objective's section without its lists of strengths: another beta must not make the trained ones run again."""
    section = task["alignment"]["objectives"][objective]
    return {
        key: value
        for key, value in section.items()
        if key not in ("betas", "anchors", "default_beta", "seeds", "reward_margin")
    }


def digest(*texts: str) -> str:
    """A short name for what a job was asked to do."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
