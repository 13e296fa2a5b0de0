"""The length task's reward at the ends of its range."""

import pytest

import tasks


def test_both_ends_of_the_range_belong_to_it():
    task = tasks.create({"name": "length", "min_tokens": 2, "max_tokens": 4})
    ids = [[7] * n for n in range(7)]
    assert task.reward([""] * 7, [""] * 7, ids) == [-1, -1, 0, 0, 0, -1, -1]


def test_prompt_and_completion_join_to_one_text():
    task = tasks.create({"name": "length", "min_tokens": 2, "max_tokens": 4})
    assert task.format_prompt("Tom is a cook.") + task.format_completion("A cook.") == "Tom is a cook.\nSummary: A cook."


def test_every_task_can_be_created_by_name():
    assert "length" in tasks.available()
    with pytest.raises(ModuleNotFoundError):
        tasks.create({"name": "no_such_task"})
