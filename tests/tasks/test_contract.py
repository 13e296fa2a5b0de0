"""What every task promises, and how a broken reward or wrong settings are refused."""

import math
from pathlib import Path

import pytest
import yaml

import tasks
from study import modules
from study.checks import CORPORA
from tests import e2e
from tests.pretrained import save_requests

ROOT = Path(__file__).parents[2]
LAPTOP = yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text())["tasks"]
#: Tasks whose data are files, and not in the default study.
OF_FILES = {"chat_safety", "data_to_text"}
#: Tasks whose data are the user's own.
OF_USERS = {"own_text"}
#: Tasks whose demonstrations a model writes.
WITHOUT_TEXTS = {"chat_safety"}
SETTINGS = {name: section["settings"] for name, section in LAPTOP.items()}
SETTINGS |= dict.fromkeys(OF_FILES, {})
SETTINGS |= {"own_text": {"min_tokens": 8, "max_tokens": 12}}
FACTS = {
    "kind": "local_files",
    "columns": {"prompt": "meaning_representation", "completion": "text"},
}
NAN = math.nan
INF = math.inf


class Stub:
    """A task whose verdicts are given."""

    name = "stub"
    version = 1

    def __init__(self, verdict):
        self.verdict = verdict

    def judge(self, prompts, completions, completion_ids):
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def judge(verdict):
    return tasks.judge(Stub(verdict), ["a", "b"], [" x", " y"], [[1], [2]])


def small_splits(name, files, **sizes):
    """Splits of a task; `files` are what a task of published files reads."""
    task = tasks.create(name, SETTINGS[name])
    if name == "data_to_text":
        folder = Path(files["adv_bench"]).parent
        return task.splits(FACTS, e2e.save(folder, **sizes), seed=5)
    return task.splits({"kind": "made_world", "documents": sizes}, files, seed=5)


@pytest.fixture
def files(tmp_path):
    return save_requests(tmp_path, 120)


def has_own_corpus(name):
    return modules.constant(f"tasks.{name}", "CORPUS", tuple(CORPORA)) == "own"


@pytest.mark.parametrize(
    ("verdict", "message"),
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
def test_a_broken_verdict_is_refused_with_the_task_and_the_bad_value(verdict, message):
    with pytest.raises(tasks.TaskError, match=message):
        judge(verdict)


def test_a_measure_that_does_not_apply_to_a_prompt_is_allowed_and_left_unchanged():
    measures = judge({"gold": [0.5, -1], "refused_harmful": [NAN, 1.0]})
    assert measures["gold"] == [0.5, -1]
    assert math.isnan(measures["refused_harmful"][0])
    assert measures["refused_harmful"][1] == 1


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
def test_wrong_settings_are_refused_with_the_task_and_the_bad_value(name, settings, message):
    with pytest.raises(tasks.TaskError, match=rf"tasks\.{name}\.settings = .*: .*{message}"):
        tasks.create(name, settings)


def test_the_default_study_has_every_task():
    assert (
        set(LAPTOP) | OF_FILES | OF_USERS == set(tasks.available()) == set(modules.names("tasks"))
    )


@pytest.mark.parametrize("name", tasks.available())
def test_a_task_keeps_the_contract(name, files):
    assert modules.constant(f"tasks.{name}", "CORPUS", tuple(CORPORA))
    task = tasks.create(name, SETTINGS[name])
    assert task.name == name

    # The splits have the asked sizes, and no prompt is in two of them.
    sizes = {"train": 150, "validation": 40, "test": 10}
    splits = small_splits(name, files, **sizes)
    assert {split: len(rows) for split, rows in splits.items()} == sizes
    prompts = [prompt for split in splits.values() for prompt in split["prompt"]]
    completions = [completion for split in splits.values() for completion in split["completion"]]
    assert len(set(prompts)) == 200
    if name in WITHOUT_TEXTS:
        completions = [["Take a good book.", "I can't help with that."][i % 2] for i in range(200)]

    # The reward differs, or it would teach nothing, and demonstrations are in the task's language.
    ids = [list(range(len(text.split()))) for text in completions]
    measures = tasks.judge(task, prompts, completions, ids)
    assert all(math.isfinite(gold) for gold in measures["gold"])
    assert len(set(measures["gold"])) > 1
    assert set(measures.get("wellformed", [1])) == {1}

    # No verdict depends on other rows.
    for i in range(20):
        alone = tasks.judge(task, [prompts[i]], [completions[i]], [ids[i]])
        assert alone["gold"] == [measures["gold"][i]]


@pytest.mark.parametrize("name", [name for name in tasks.available() if has_own_corpus(name)])
def test_a_task_with_its_own_corpus_refuses_prompts_of_other_tasks(name, files):
    task = tasks.create(name, SETTINGS[name])
    for other_name in tasks.available():
        if other_name == name:
            continue
        [row] = small_splits(other_name, files, train=1, validation=1, test=1)["test"]
        with pytest.raises(tasks.TaskError, match=f"task {name}: judge raised ValueError"):
            tasks.judge(task, [row["prompt"]], [row["completion"]], [[0]])
