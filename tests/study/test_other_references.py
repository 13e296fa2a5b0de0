"""The section `dera.other_references`: what follows from it, and mistakes that are refused."""

import copy
import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from study import estimate, resolve, settings
from study.schema import ConfigError

ROOT = Path(__file__).parents[2]
SECTION = {"lams": [0, 0.5, 0.25], "prompts": 40, "samples": 1}


def shipped(name: str, task: str) -> dict:
    """A shipped study of one task, whose sections are no longer shared."""
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    section = copy.deepcopy(config["tasks"][task])
    section["dera"]["other_references"] = dict(SECTION)
    return config | {"main_task": task, "tasks": {task: section}}


@pytest.fixture
def made_world() -> dict:
    return shipped("smoke", "length")


@pytest.fixture
def chat() -> dict:
    return shipped("real-mini", "chat_safety")


def resolved(config: dict):
    (task,) = resolve.plan_of(config).tasks.values()
    return task


def test_a_made_world_has_one_other_reference_and_a_pretrained_model_two(made_world, chat):
    assert resolved(made_world).mixed_references == ["own", "other"]
    assert resolved(chat).mixed_references == ["own", "pretrained", "other"]
    del made_world["tasks"]["length"]["dera"]["other_references"]
    task = resolved(made_world)
    assert not task.has_other_references
    assert task.mixed_references == []


def test_a_pretrained_model_may_be_the_only_other_reference(made_world, chat):
    for config, task in ((made_world, "length"), (chat, "chat_safety")):
        config["tasks"][task]["dera"]["other_references"]["train_another"] = False
    assert resolved(chat).mixed_references == ["own", "pretrained"]
    with pytest.raises(ConfigError, match="train_another = False: leaves no other reference"):
        resolved(made_world)


def test_the_lams_that_match_the_betas_are_added(made_world):
    """0.1 / 0.3 is not 1/3 in floating point."""
    rloo = made_world["tasks"]["length"]["alignment"]["objectives"]["rloo"]
    rloo.update(betas=[0.1, 0.3, 0.05], anchors=[0.1, 0.3], default_beta=0.1)
    task = resolved(made_world)
    expected = [0, Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), 1, 2]
    assert task.lams_of_other_references == expected
    told = settings.trying_references(task, seed=1)
    assert told["lams"] == ["0", "1/4", "1/3", "1/2", "1", "2"]
    assert (told["anchor"], told["seed"], told["samples"]) == ("0.1", 1, 1)


def test_without_prompts_those_of_the_evaluation_are_tried(made_world):
    assert settings.trying_references(resolved(made_world), 0)["prompts"] == 40
    del made_world["tasks"]["length"]["dera"]["other_references"]["prompts"]
    assert settings.trying_references(resolved(made_world), 0)["prompts"] == 64


def test_the_other_reference_has_seeds_of_its_own(made_world):
    task = resolved(made_world)
    words = ("other documents", "other demonstrations", "other reference", "reference trial")
    assert len({task.seed_of(word) for word in words} | {task.study_seed}) == 5


def test_the_estimate_grows_by_another_training_at_least(made_world):
    with_section = estimate.seconds(resolve.plan_of(made_world))
    sft = made_world["tasks"]["length"]["sft"]
    del made_world["tasks"]["length"]["dera"]["other_references"]
    grown = with_section - estimate.seconds(resolve.plan_of(made_world))
    sequences = sft["steps"] * sft["batch_size"]
    assert grown > 0.1 * sequences * estimate.SECONDS_A_SEQUENCE["sft"]


def no_sft(task):
    task["sft"] = "none"
    del task["demonstrations"]


def local_files(task):
    task["corpus"] = {
        "kind": "local_files",
        "files": {"train": "a.jsonl", "validation": "b.jsonl", "test": "c.jsonl"},
        "columns": {"prompt": "prompt", "completion": "completion"},
    }


def too_many(name: str, value: int):
    def change(task):
        task["dera"]["other_references"][name] = value

    return change


@pytest.mark.parametrize(
    ("name", "task", "change", "message"),
    [
        (
            "real-mini",
            "chat_safety",
            no_sft,
            "tasks.chat_safety.dera.other_references: with tasks.chat_safety.sft = 'none'",
        ),
        (
            "smoke",
            "length",
            local_files,
            "tasks.length.corpus.kind = 'local_files' has no other demonstrations",
        ),
        (
            "smoke",
            "length",
            too_many("prompts", 65),
            "tasks.length.dera.other_references.prompts = 65: must be at most "
            "tasks.length.evaluation.prompts = 64",
        ),
        (
            "smoke",
            "length",
            too_many("samples", 3),
            "tasks.length.dera.other_references.samples = 3: must be at most "
            "tasks.length.evaluation.samples = 2",
        ),
        (
            "smoke",
            "length",
            too_many("lams", []),
            "tasks.length.dera.other_references.lams",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_key(name, task, change, message):
    config = shipped(name, task)
    change(config["tasks"][task])
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve.plan_of(config)


@pytest.mark.parametrize("change", [no_sft, local_files])
def test_the_remedy_that_a_message_names_is_accepted(change):
    name, task = ("real-mini", "chat_safety") if change is no_sft else ("smoke", "length")
    config = shipped(name, task)
    change(config["tasks"][task])
    del config["tasks"][task]["dera"]["other_references"]
    resolve.plan_of(config)
