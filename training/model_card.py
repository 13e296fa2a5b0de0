"""The model card of an adapter: what it is, how it was trained, and how to decode with it.

PEFT writes a card of empty fields beside every adapter. This one takes its place, so that an
adapter which somebody gets without the study explains itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCardData

#: What the trainers log about the whole training, in the words of the card.
SHOWN = {
    "reward": "mean reward",
    "kl": "KL to the reference (nats)",
    "rewards/margins": "margin of the implicit reward",
    "rewards/accuracies": "pairs whose chosen completion has the larger implicit reward",
    "loss": "loss",
}
#: Means are over so many of the last logged steps.
LAST = 5


def of_adapter(record: Mapping[str, Any]) -> str:
    """Return the card's text, in Markdown with a YAML header.

    Args:
        record: what `training.json` holds: the objective, beta, the seed, the settings and the
            history of the training.
    """
    settings = record["settings"]
    task = settings["task"]["name"]
    objective, beta = record["objective"], record["beta"]
    header = ModelCardData(
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["dera", "lora", objective, task],
    ).to_yaml()
    parts = [
        f"---\n{header}\n---",
        f"# An adapter for the task {task}, aligned by {objective.upper()} at beta = {beta}",
        "This is a LoRA adapter. It belongs on the reference of the study that made it, which is "
        "the folder `models/reference` of the same task, and on no other model. It was trained to "
        f"raise the reward of the task `{task}`, while a KL penalty of strength beta = {beta} held "
        f"it close to the reference. The training seed was {record['seed']}.",
        f"## How it was trained\n\n{_table(_settings_of(settings))}",
    ]
    measured = _last_means(record["history"])
    if measured:
        parts.append(
            f"Means over the last {LAST} steps that were logged:\n\n{_table(measured)}\n\n"
            "`training.json` beside this file has the whole history, all settings and the versions "
            "of the libraries."
        )
    parts.append(
        "## How to decode with it\n\n"
        "At lam = 1 the pair is the aligned model. At another lam it approximates a model that was "
        f"trained at beta = {beta} / lam (Decoding-time Realignment).\n\n"
        "```python\n"
        "import dera\n\n"
        'model = dera.RealignedModel.from_pretrained("models/reference", "this-folder", '
        f"aligned_beta={beta})\n"
        "model.generate(**inputs, lam=0.5)\n"
        "```\n"
    )
    return "\n\n".join(parts)


def _settings_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the training, the task, its pairs and the adapter, one a row."""
    sections = {name: settings.get(name) for name in ("objective", "preferences", "lora")}
    sections["task"] = settings["task"].get("settings")
    rows: dict[str, Any] = {}
    for section, values in sections.items():
        for name, value in (values or {}).items():
            rows[f"{section}: {name}"] = value if isinstance(value, str) else json.dumps(value)
    return rows


def _last_means(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the mean of each measure over the last logged steps, by its name on the card."""
    means = {}
    for name, shown in SHOWN.items():
        values = [step[name] for step in history if name in step][-LAST:]
        if values:
            means[shown] = f"{sum(values) / len(values):.3g}"
    return means


def _table(rows: Mapping[str, Any]) -> str:
    lines = ["| what | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(lines)
