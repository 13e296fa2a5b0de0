"""What every task promises: names are checked, and a broken reward is refused with the task and the number."""

import math
from pathlib import Path

import pytest
import yaml

import tasks
from study import modules

LAPTOP = yaml.safe_load((Path(__file__).parents[2] / "config" / "laptop.yaml").read_text())["tasks"]
NAN, INF = math.nan, math.inf


class Stub:
    """A task whose verdicts are given."""

    name, version = "stub", 1

    def __init__(self, found):
        self.found = found

    def judge(self, prompts, completions, completion_ids):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def judge(found):
    return tasks.judge(Stub(found), ["a", "b"], [" x", " y"], [[1], [2]])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"gold": [0.0]}, "task stub: judge returned 1 values of 'gold' for 2 completions"),
        ({"gold": [0.0] * 3}, "task stub: judge returned 3 values of 'gold' for 2"),
        ({"gold": [0.0, 1.0], "words": []}, "task stub: judge returned 0 values of 'words' for 2"),
        ({"gold": [0.0, NAN]}, "task stub: 'gold' is nan for completion ' y' of prompt 'b'"),
        ({"gold": [-INF, 0.0]}, "task stub: 'gold' is -inf for completion ' x' of prompt 'a'"),
        (
            {"gold": [0.0, 1.0], "words": [NAN, INF]},
            "task stub: 'words' is inf for completion ' y' of prompt 'b'",
        ),
        ({"words": [1.0, 2.0]}, r"task stub: judge returned \['words'\], without 'gold'"),
        ({}, "task stub: judge returned .*without 'gold'"),
        (ValueError("no such prompt"), "task stub: judge raised ValueError: no such prompt"),
        (
            ZeroDivisionError("division by zero"),
            "task stub: judge raised ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_broken_verdict_is_refused_by_task_and_number(found, message):
    with pytest.raises(tasks.TaskError, match=message):
        judge(found)


def test_a_measure_may_not_apply_and_comes_back_as_it_was():
    found = judge({"gold": [0.5, -1], "refused_harmful": [NAN, 1.0]})
    assert found["gold"] == [0.5, -1]
    assert math.isnan(found["refused_harmful"][0])
    assert found["refused_harmful"][1] == 1


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "length",
            {"min_tokens": 13, "max_tokens": 12},
            "min_tokens = 13 must be at least 1 and at most max_tokens = 12",
        ),
        ("length", {"min_tokens": 8}, "max_tokens"),
        ("length", {"min_tokens": 8, "max_tokens": 12, "tokens": 3}, "tokens"),
        ("length", {"min_tokens": "few", "max_tokens": 12}, "'few'"),
        ("summarization", {"facts": 9, "noise": 2, "word_cost": 0.02}, "facts = 9"),
        ("hallucination", {"contamination": 1.5}, r"contamination = 1\.5"),
        ("safety", {"harmful": 0.9, "plain": 0.2}, r"harmful = 0\.9 and plain = 0\.2"),
    ],
)
def test_wrong_settings_are_refused_by_task_and_number(name, settings, message):
    with pytest.raises(tasks.TaskError, match=rf"tasks\.{name}\.settings = .*: .*{message}"):
        tasks.create(name, settings)


def test_the_default_study_has_every_task():
    assert set(LAPTOP) == set(tasks.available()) == set(modules.names("tasks"))


@pytest.mark.parametrize("name", tasks.available())
def test_a_task_of_the_default_study_keeps_the_contract(name):
    assert modules.constant(f"tasks.{name}", "CORPUS", ("any", "own"))
    task = tasks.create(name, LAPTOP[name]["settings"])
    assert task.name == name
    sizes = {"train": 150, "validation": 40, "test": 10}
    splits = task.splits({"kind": "made_world", "documents": sizes}, {}, seed=5)
    assert {split: len(rows) for split, rows in splits.items()} == sizes
    prompts = [prompt for split in splits.values() for prompt in split["prompt"]]
    completions = [completion for split in splits.values() for completion in split["completion"]]
    assert len(set(prompts)) == 200
    ids = [list(range(len(text.split()))) for text in completions]
    found = tasks.judge(task, prompts, completions, ids)
    assert all(math.isfinite(gold) for gold in found["gold"])
    assert len(set(found["gold"])) > 1  # a reward that never differs teaches nothing
    assert set(found.get("wellformed", [1])) == {1}  # demonstrations are in the task's language
    alone = [
        tasks.judge(task, *([column[i]] for column in (prompts, completions, ids)))["gold"][0]
        for i in range(20)
    ]
    assert alone == found["gold"][:20]  # no verdict looks at other rows


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in tasks.available()
        if modules.constant(f"tasks.{name}", "CORPUS", ("any", "own")) == "own"
    ],
)
def test_a_task_of_its_own_world_refuses_prompts_of_others(name):
    task = tasks.create(name, LAPTOP[name]["settings"])
    for other in tasks.available():
        if other != name:
            rows = tasks.create(other, LAPTOP[other]["settings"]).splits(
                {"kind": "made_world", "documents": {"test": 1}}, {}, 0
            )
            [row] = rows["test"]
            with pytest.raises(tasks.TaskError, match=f"task {name}: judge raised ValueError"):
                tasks.judge(task, [row["prompt"]], [row["completion"]], [[0]])
