"""Objectives whose aligned models others have trained: what their sections and files must be.

Such an objective has a key `pretrained` with a model for each beta. Its models are loaded where
those of other objectives are trained (training/load_aligned.py). Everything after that is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from study import sources
from study.schema import ConfigError
from study.sources import Source
from study.strengths import label

#: The module that makes these models, and what it learns from.
MODULE = "training.load_aligned"
DATA = "nothing"

#: The keys that such an objective may have. All others say how a model is trained.
ALLOWED = ("pretrained", "betas", "anchors", "default_beta", "fine_grid", "seeds", "reward")
#: A message names so many tokens at most.
EXAMPLES = 3


def is_loaded(section: Mapping[str, Any]) -> bool:
    """Whether the models of an objective are loaded, and not trained."""
    return "pretrained" in section


def check(key: str, task_key: str, section: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    """Check the section of such an objective, which stands at `key` and has passed the schema.

    Args:
        key: where the section stands in the config, for messages.
        task_key: where the section of its task stands.
        section: the objective's section.
        task: the task's section.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    # It trains nothing, so that one model stands for each strength.
    for name in section:
        if name not in ALLOWED:
            raise ConfigError(
                f"{key}.{name} = {section[name]!r}: the models in {key}.pretrained are loaded and "
                "not trained; remove it, or give models that are trained an objective of their own"
            )
    models, betas = section["pretrained"], section["betas"]
    if len(models) != len(betas):
        raise ConfigError(
            f"{key}.pretrained: names {len(models)} models, and {key}.betas = {betas} has "
            f"{len(betas)} strengths; name one model for each strength, in the same order"
        )
    seeds = section.get("seeds", task["alignment"]["seeds"])
    if len(seeds) > 1:
        raise ConfigError(
            f"{key}: a model that is loaded is there once, and has one seed, but the seeds are "
            f"{seeds}; say `seeds: [{seeds[0]}]` in {key}"
        )
    if section.get("reward") in ("learned", "labeller"):
        raise ConfigError(
            f"{key}.reward = {section['reward']!r}: nobody here trains these models on it; "
            "allowed: 'gold' or measures of the task"
        )

    # The reference is the model that others started from.
    if "pretrained" not in task["model"]:
        raise ConfigError(
            f"{key}.pretrained: these models need the reference that they were trained from; name "
            f"it in {task_key}.model.pretrained"
        )
    if task["sft"] != "none":
        raise ConfigError(
            f"{task_key}.sft: trains another reference than the one that the models in "
            f"{key}.pretrained were trained from; say `sft: none`"
        )


def check_names(tasks: Mapping[str, Any]) -> None:
    """Check that no name stands for models that are loaded and, in another task, for trained ones.

    Raises:
        ConfigError: naming both.
    """
    first: dict[str, tuple[str, bool]] = {}
    for task, section in tasks.items():
        for name, objective in section["alignment"]["objectives"].items():
            where = f"tasks.{task}.alignment.objectives.{name}"
            known, was_loaded = first.setdefault(name, (where, is_loaded(objective)))
            if was_loaded != is_loaded(objective):
                raise ConfigError(
                    f"{where}: models are loaded in this objective or in {known}, and trained in "
                    "the other; rename one"
                )


def sources_of(key: str, section: Mapping[str, Any]) -> dict[str, Source]:
    """Where the model of each beta comes from, by the beta; none for models that are trained.

    Raises:
        ConfigError: naming the key that is wrong.
    """
    if not is_loaded(section):
        return {}
    found = {}
    for place, beta in enumerate(section["betas"]):
        model = section["pretrained"][place]
        found[label(beta)] = sources.of(f"{key}.pretrained[{place}]", model)
    return found


def check_files(key: str, reference: Source | None, models: Mapping[str, Source]) -> None:
    """Check the models that are on this machine: they exist, and read text as the reference does.

    What is not fetched yet is checked by the job that loads it.

    Args:
        key: where the section of the objective stands in the config, for messages.
        reference: where the reference comes from.
        models: what `sources_of` returned.

    Raises:
        ConfigError: naming the key and the path.
    """
    for place, source in enumerate(models.values()):
        where = f"{key}.pretrained[{place}]"
        sources.check(where, source)
        if reference is not None:
            _check_vocabulary(where, Path(sources.where(reference)), Path(sources.where(source)))


def _check_vocabulary(key: str, reference: Path, model: Path) -> None:
    """Refuse a model whose tokens have other ids than the reference's.

    An adapter, a GGUF file and an old tokenizer may have no tokenizer.json. These pass here.
    """
    own, other = _vocabulary(reference), _vocabulary(model)
    if own is None or other is None or own == other:
        return
    differing = sorted(
        token for token in {*own, *other} if own.get(token, "no") != other.get(token, "no")
    )
    examples = "; ".join(
        f"{token!r} is {own.get(token, 'absent')} and {other.get(token, 'absent')}"
        for token in islice(differing, EXAMPLES)
    )
    raise ConfigError(
        f"{key}: {model} has another tokenizer than the reference {reference}, so mixing their "
        f"logits has no meaning. {len(differing)} tokens differ: {examples}. Name a model that was "
        "trained from this reference"
    )


def _vocabulary(folder: Path) -> dict[str, int] | None:
    """The id of each token as tokenizer.json has it, or None if there is no such file."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        tokens = content["model"]["vocab"]
        if isinstance(tokens, list):  # of a unigram model: tokens with scores, in the order of ids
            tokens = {token: place for place, (token, _) in enumerate(tokens)}
        added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
        return {**tokens, **added}
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{file}: is no tokenizer that can be read: {type(error).__name__}: {error}"
        ) from error
