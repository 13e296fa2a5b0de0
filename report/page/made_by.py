"""What was run, in one sentence, from the manifest of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: So many letters of a commit tell it apart from the others.
LETTERS_OF_COMMIT = 8


def sentence(manifest: Mapping[str, Any], seeds: Mapping[str, tuple[int, ...]]) -> str:
    """Return which study was run, when, at which commit, with which seeds, and where.

    What a manifest does not say is left out: those of older commits have no date and no machine.

    Args:
        manifest: what `study.manifest` wrote.
        seeds: the training seeds of each task.
    """
    config = manifest["config"]
    name = config["study"]
    if config.get("replicate"):
        name += f", replicate {config['replicate']}"
    parts = [f"This is the study {name}"]
    if manifest.get("written"):
        parts.append(f"finished on {manifest['written'][:10]}")
    parts.append(_commit(manifest))
    parts.append(f"with training {_seeds(seeds)}")
    if manifest.get("machine"):
        parts.append(f"on {_machine(manifest['machine'])}")
    versions = manifest.get("versions", {})
    used = [f"{library} {versions[library]}" for library in ("torch", "trl") if library in versions]
    if used:
        parts.append(f"with {' and '.join(used)}")
    return f"{', '.join(parts)}."


def _commit(manifest: Mapping[str, Any]) -> str:
    if not manifest.get("commit"):
        return "at an unknown commit"
    changed = ", to which files had been changed" if manifest.get("changed") else ""
    return f"at commit {manifest['commit'][:LETTERS_OF_COMMIT]}{changed}"


def _seeds(seeds: Mapping[str, tuple[int, ...]]) -> str:
    """Return the seed or the seeds; tasks are named where they differ in their seeds."""
    tasks_of: dict[tuple[int, ...], list[str]] = {}
    for task, of_task in seeds.items():
        tasks_of.setdefault(of_task, []).append(task)
    said = []
    for of_tasks, tasks in tasks_of.items():
        noun = "seed" if len(of_tasks) == 1 else "seeds"
        numbers = f"{noun} {', '.join(map(str, of_tasks)) or 'of no model'}"
        said.append(numbers if len(tasks_of) == 1 else f"{numbers} ({', '.join(tasks)})")
    return "; ".join(said)


def _machine(machine: Mapping[str, Any]) -> str:
    cores = machine["cores"]
    gpu = "a GPU" if machine["gpu"] else "no GPU"
    said = f"{machine['system']} with {cores} core{'s' * (cores != 1)} and {gpu}"
    if machine.get("image"):
        said += f", in the container image {machine['image']}"
    return said
