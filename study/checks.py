"""Check what a schema cannot say about a task's section: whether its keys fit one another.

The files that the section names are read too, and the task is made once to check its settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tasks as task_modules
from study import modules, names, sources
from study.layers import check_layers
from study.measures import check_measures
from study.objective_checks import pairs_are_of_files, pairs_are_sampled
from study.schema import ConfigError
from study.sources import Source
from tasks.text.rates import JudgeErrors

CORPUS_VARIABLE = "DERA_CORPUS"

#: The kinds of corpus that a task can work on, by what its module declares as CORPUS. A task of
#: "files" divides their rows among the splits itself.
CORPORA = {
    "any": ("made_world", "local_files"),
    "own": ("made_world",),
    "files": ("local_files",),
    "fetched": ("fetched",),
}


def check_task(
    key: str, name: str, section: Mapping[str, Any]
) -> tuple[str, str, JudgeErrors | None]:
    """Check the section of a task, which stands at `key` and has passed the schema.

    The alignments, the baselines and the section `several_rewards` are checked elsewhere.

    Returns:
        The task's module, the corpora it works on ("any", only its "own", local "files", or
        "fetched" files), and how often its judge is wrong.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    module, corpora = _task_module(key, name, section)
    _check_corpus(f"{key}.corpus", name, section["corpus"], module, corpora)
    try:
        task = task_modules.create(name, section["settings"], section.get("module"))
    except task_modules.TaskError as error:
        raise ConfigError(str(error)) from error
    check_measures(key, section, task_modules.measures_of(task))
    check_layers(key, section)
    if "preferences" in section:
        writes_pairs = hasattr(task, "pair")
        _check_preferences(f"{key}.preferences", section["preferences"], writes_pairs)
    _check_demonstrations(key, section, corpora, hasattr(task, "opening"))
    _check_metrics(f"{key}.metrics", section.get("metrics", []))
    _check_sizes(key, section)
    return module, corpora, _judge_errors(name, task)


def corpus_sources(key: str, corpus: Mapping[str, Any]) -> dict[str, Source]:
    """The files that a corpus reads, by split or by the task's names; none for the made world.

    A file that is named by a text lies in the corpus's `folder`, or in the folder that DERA_CORPUS
    names. Other tables lie where they say.

    Args:
        key: where the section `corpus` stands in the config, for messages.

    Raises:
        ConfigError: if no folder is named, or one of the files does not exist.
    """
    if corpus["kind"] == "fetched":
        return {
            name: _checked_source(f"{key}.files.{name}", section)
            for name, section in corpus["files"].items()
        }
    if corpus["kind"] != "local_files":
        return {}
    found: dict[str, Source] = {}
    for split, table in corpus["files"].items():
        if isinstance(table, str):
            found[split] = _in_folder(key, split, table, corpus.get("folder"))
        else:
            found[split] = _checked_source(f"{key}.files.{split}", table, "table")
    return found


def _in_folder(key: str, split: str, name: str, folder: str | None) -> Source:
    """The file of that name in the corpus's folder."""
    folder = folder or os.environ.get(CORPUS_VARIABLE)
    if not folder:
        raise ConfigError(
            f"{key}.folder: not set; name the folder with your files in the config, or in the "
            f"environment as {CORPUS_VARIABLE}=/path/to/files"
        )
    path = Path(folder) / name
    if not os.path.exists(path):  # unlike Path.exists, it is False for any name
        raise ConfigError(f"{key}.files.{split} = {name!r}: {path} does not exist")
    return sources.OwnPath(str(path))


def pairs_source(key: str, section: Mapping[str, Any]) -> Source | None:
    """The table of the user's own preference pairs; None where pairs have another source.

    Args:
        key: where the task stands in the config, for messages.
        section: the task's section.

    Raises:
        ConfigError: if it is a path that does not exist.
    """
    preferences = section.get("preferences")
    if not preferences or not pairs_are_of_files(preferences):
        return None
    return _checked_source(f"{key}.preferences.files", preferences["files"], "table")


def pretrained_source(key: str, model: Mapping[str, Any]) -> Source | None:
    """Where the pretrained model comes from; None for a model that is trained from scratch.

    Args:
        key: where the section `model` stands in the config, for messages.

    Raises:
        ConfigError: if it is a path that does not exist.
    """
    if "pretrained" not in model:
        return None
    return _checked_source(f"{key}.pretrained", model["pretrained"])


def _checked_source(key: str, section: Mapping[str, Any], form: str = "fetched_model") -> Source:
    """What a config names at `key`; a path of the user's own must exist."""
    source = sources.of(key, section, form)
    sources.check(key, source)
    return source


def _check_corpus(
    key: str, name: str, corpus: Mapping[str, Any], module: str, corpora: str
) -> None:
    """Check that the task works on this kind of corpus, and that every file it needs is named."""
    kind = corpus["kind"]
    allowed = CORPORA[corpora]
    if kind not in allowed:
        raise ConfigError(
            f"{key}.kind = {kind!r}: the task {name} cannot read such a corpus; "
            f"allowed: {', '.join(map(repr, allowed))}"
        )
    if kind != "fetched":
        return
    try:
        needed = modules.literal(module, "FILES")
    except modules.ModuleError as error:
        raise ConfigError(f"{key}.files: {error}") from error
    if sorted(corpus["files"]) != sorted(needed):
        raise ConfigError(
            f"{key}.files: names {', '.join(sorted(corpus['files']))}, and the task {name} reads "
            f"{', '.join(sorted(needed))}"
        )


def _check_demonstrations(
    key: str, section: Mapping[str, Any], corpora: str, writes_openings: bool
) -> None:
    """Check that demonstrations come from one place: the corpus, or the pretrained model."""
    pretrained = "pretrained" in section["model"]
    if section["sft"] == "none" and not pretrained:
        raise ConfigError(f"{key}.sft = 'none': a model that is trained from scratch needs sft")
    if "demonstrations" in section:
        if not pretrained:
            raise ConfigError(
                f"{key}.demonstrations: only a pretrained model can write them; remove them, or "
                f"name one in {key}.model.pretrained"
            )
        if section["sft"] == "none":
            raise ConfigError(
                f"{key}.demonstrations: with sft = 'none' nothing learns from them; remove them"
            )
        if not writes_openings:
            raise ConfigError(
                f"{key}.demonstrations: the task does not say how demonstrations begin (it has no "
                "method `opening`); remove them"
            )
    elif corpora == "fetched" and section["sft"] != "none":
        raise ConfigError(
            f"{key}.demonstrations: missing, but the task has no demonstrations of its own to "
            "train on; add them, or say `sft: none`"
        )
    elif _has_prompts_alone(section["corpus"]) and section["sft"] != "none":
        raise ConfigError(
            f"{key}.corpus.columns: names no `completion`, so there is nothing for sft to train "
            "on; name it, or say `sft: none`"
        )


def _has_prompts_alone(corpus: Mapping[str, Any]) -> bool:
    """Whether a corpus has no completions."""
    return "columns" in corpus and not {"completion", "chosen"} & set(corpus["columns"])


def _task_module(key: str, name: str, section: Mapping[str, Any]) -> tuple[str, str]:
    """Find the module of a task and read which corpora it works on."""
    if "module" in section:
        where, value = f"{key}.module", section["module"]
    else:
        where, value = "tasks", name
    try:
        module = modules.find("tasks", value)
        modules.require_function(module, "create")
        return module, modules.constant(module, "CORPUS", tuple(CORPORA))
    except modules.ModuleError as error:
        raise ConfigError(f"{where} = {value!r}: {error}") from error


def _judge_errors(name: str, task: task_modules.Task) -> JudgeErrors | None:
    """Return how often a task says that its judge is wrong, None where it says nothing."""
    errors = getattr(task, "judge_errors", None)
    if errors is None:
        return None
    where = f"tasks.{name}: the task's judge_errors = {errors!r}"
    if not isinstance(errors, JudgeErrors):
        raise ConfigError(
            f"{where} must be a tasks.text.rates.JudgeErrors; tasks/chat/refusals.py has one"
        )
    if not errors.are_usable():
        raise ConfigError(
            f"{where} must have at most as many wrong texts as labelled ones, and must tell more "
            "than chance: label more texts, or remove judge_errors"
        )
    return errors


def _check_first_blocks(key: str, section: Mapping[str, Any]) -> None:
    """Check that each adapter begins at a block which the model from scratch has."""
    layers = section["model"]["layers"]
    sft = section["sft"]
    of_sft = None if sft == "none" else sft.get("lora")
    adapters = {"lora": section.get("lora"), "sft.lora": of_sft}
    for name, lora in adapters.items():
        first = (lora or {}).get("first_block", 0)
        if first >= layers:
            raise ConfigError(
                f"{key}.{name}.first_block = {first}: must be less than {key}.model.layers = "
                f"{layers}, because the lowest block is 0"
            )


def _check_sizes(key: str, section: Mapping[str, Any]) -> None:
    """Check that numbers in different places of a task's section fit one another."""
    settings = section["settings"]
    model = section["model"]
    if "max_tokens" in settings and model["max_new_tokens"] <= settings["max_tokens"]:
        raise ConfigError(
            f"{key}.model.max_new_tokens = {model['max_new_tokens']}: must be more than "
            f"{key}.settings.max_tokens = {settings['max_tokens']}, or a summary that was cut off "
            "would be rewarded"
        )
    if "pretrained" not in model:
        _check_heads(f"{key}.model", model["hidden_size"], model["heads"])
        _check_first_blocks(key, section)
    if "chat_template" in model and not model["chat"]:
        raise ConfigError(
            f"{key}.model.chat_template: prompts are not turns of a chat, because {key}.model.chat "
            "is false; say `chat: true`, or remove the template"
        )
    if model["max_new_tokens"] >= model["max_positions"]:
        raise ConfigError(
            f"{key}.model.max_new_tokens = {model['max_new_tokens']}: must be less than "
            f"{key}.model.max_positions = {model['max_positions']}, which a prompt shares with its "
            "completion"
        )
    _check_micro_batches(key, section)
    curve = section["dera"]["curve"]
    if curve["max_sampled_lams"] < len(curve["sampled_lams"]):
        raise ConfigError(
            f"{key}.dera.curve.max_sampled_lams = {curve['max_sampled_lams']}: must be at least "
            f"{len(curve['sampled_lams'])}, because {key}.dera.curve.sampled_lams has so many"
        )
    documents = section["corpus"].get("documents")
    prompts = section["evaluation"]["prompts"]
    if documents and documents["test"] < prompts:
        raise ConfigError(
            f"{key}.evaluation.prompts = {prompts}: must be at most "
            f"{key}.corpus.documents.test = {documents['test']}"
        )
    samples = section["evaluation"]["samples"]
    reading_samples = section["evaluation"].get("reading_samples", 1)
    if reading_samples > samples:
        raise ConfigError(
            f"{key}.evaluation.reading_samples = {reading_samples}: must be at most "
            f"{key}.evaluation.samples = {samples}, because no more completions are there to read"
        )
    if "reward_model" in section and "pairs" in section.get("preferences", {}):
        _check_pairs_left(key, section["reward_model"], section["preferences"]["pairs"])


def _check_heads(key: str, hidden_size: int, heads: int) -> None:
    """Check that the heads share the width of the model evenly.

    Rotary positions turn pairs of numbers, so that each head needs an even number of them.
    """
    if hidden_size % heads:
        raise ConfigError(
            f"{key}.hidden_size = {hidden_size}: must be a multiple of {key}.heads = {heads}"
        )
    if hidden_size // heads % 2:
        raise ConfigError(
            f"{key}.hidden_size = {hidden_size}: must be an even multiple of {key}.heads = "
            f"{heads}, such as {hidden_size + heads}, because each head turns pairs of numbers"
        )


def _check_micro_batches(key: str, section: Mapping[str, Any]) -> None:
    """Check that each step is cut into micro-batches without a rest."""
    trainings = {"reward_model": section.get("reward_model"), "sft": section["sft"]}
    for name, objective in section["alignment"]["objectives"].items():
        trainings[f"alignment.objectives.{name}"] = objective
    for name, training in trainings.items():
        if not isinstance(training, Mapping) or "micro_batch_size" not in training:
            continue
        if training["batch_size"] % training["micro_batch_size"]:
            raise ConfigError(
                f"{key}.{name}.micro_batch_size = {training['micro_batch_size']}: must divide "
                f"batch_size = {training['batch_size']}"
            )


def _check_pairs_left(key: str, reward_model: Mapping[str, Any], pairs: int) -> None:
    """Check that the reward model's test set leaves at least one batch of pairs to train on."""
    held_out = reward_model["held_out"]
    batch_size = reward_model["batch_size"]
    if held_out + batch_size > pairs:
        raise ConfigError(
            f"{key}.reward_model.held_out = {held_out}: with batch_size = {batch_size} it must "
            f"leave something of {key}.preferences.pairs = {pairs} to train on; raise pairs"
        )


def _check_metrics(key: str, files: Sequence[str]) -> None:
    """Check that each metric is an `evaluate` module in a file whose name no other metric has."""
    file_by_name: dict[str, str] = {}
    for file in files:
        name = Path(file).stem
        if not os.path.isfile(file):
            raise ConfigError(f"{key} = {file!r}: there is no file {Path(file).absolute()}")
        names.check(f"{key} = {file!r}", name, "metric")
        if name in file_by_name:
            raise ConfigError(
                f"{key}: {file_by_name[name]!r} and {file!r} are both named {name!r}, and a "
                "metric's column has its file's name; rename one"
            )
        file_by_name[name] = file
        try:
            modules.require_class(file, "_compute")
        except modules.ModuleError as error:
            raise ConfigError(f"{key} = {file!r}: {error}") from error


def _check_preferences(key: str, section: Mapping[str, Any], writes_pairs: bool) -> None:
    """Check that sampled pairs have a labeller, and that pairs written by the task have none."""
    if pairs_are_of_files(section):
        return
    if pairs_are_sampled(section):
        if "sharpness" not in section:
            raise ConfigError(
                f"{key}: 'sharpness' is a required property where the reference is the source"
            )
        return
    if not writes_pairs:
        raise ConfigError(
            f"{key}.source = 'task': this task writes no pairs (it has no method `pair`); "
            "allowed: 'reference', 'files'"
        )
    for name, why in (
        ("sharpness", "what the task writes needs no labeller"),
        ("length_bias", "what the task writes needs no labeller"),
        ("completions", "the task writes pairs, and no completion is sampled"),
    ):
        if name in section:
            raise ConfigError(f"{key}.{name} = {section[name]}: {why}; remove it")
