"""The length task: gold at the ends of its range, and text that joins as the model reads it."""

import json

import pytest

import tasks


def test_both_ends_of_the_range_belong_to_it():
    task = tasks.create("length", {"min_tokens": 2, "max_tokens": 4})
    ids = [[7] * n for n in range(7)]
    assert task.judge([""] * 7, [""] * 7, ids) == {"gold": [-1, -1, 0, 0, 0, -1, -1]}


def test_prompt_and_completion_join_to_one_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"talk": "Tom is a cook.", "gist": "A cook."}) + "\n")
    corpus = {"kind": "local_files", "columns": {"prompt": "talk", "completion": "gist"}}
    splits = tasks.create("length", {"min_tokens": 2, "max_tokens": 4}).splits(
        corpus, {"test": str(path)}, seed=0
    )
    assert list(splits) == ["test"]
    [row] = splits["test"]
    assert row["prompt"] + row["completion"] == "Tom is a cook.\nSummary: A cook."
    assert row["prompt"].endswith(":")  # a token of the completion begins with its space


@pytest.mark.parametrize(("low", "high"), [(0, 4), (5, 4), (-1, -1)])
def test_an_impossible_range_is_refused(low, high):
    with pytest.raises(
        tasks.TaskError,
        match=rf"tasks\.length.*min_tokens = {low} must be at least 1 and at most max_tokens = {high}",
    ):
        tasks.create("length", {"min_tokens": low, "max_tokens": high})
