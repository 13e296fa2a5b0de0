"""The length task: gold at the ends of its range, and texts that join as the model reads them."""

import json

import pytest

import tasks


def test_both_ends_of_the_range_have_the_best_gold():
    task = tasks.create("length", {"min_tokens": 2, "max_tokens": 4})
    ids = [[7] * n for n in range(7)]
    assert task.judge([""] * 7, [""] * 7, ids) == {"gold": [-1, -1, 0, 0, 0, -1, -1]}


def test_a_prompt_and_its_completion_join_to_one_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"talk": "Tom is a cook.", "gist": "A cook."}) + "\n")
    corpus = {"kind": "local_files", "columns": {"prompt": "talk", "completion": "gist"}}
    splits = tasks.create("length", {"min_tokens": 2, "max_tokens": 4}).splits(
        corpus, {"test": str(path)}, seed=0
    )
    assert list(splits) == ["test"]
    [row] = splits["test"]
    assert row["prompt"] + row["completion"] == "Tom is a cook.\nSummary: A cook."
    assert row["prompt"].endswith(":")  # the completion's first token begins with the space


@pytest.mark.parametrize(("low", "high"), [(0, 4), (5, 4), (-1, -1)])
def test_an_impossible_range_is_refused(low, high):
    message = (
        rf"tasks\.length.*min_tokens = {low} must be at least 1 and at most max_tokens = {high}"
    )
    with pytest.raises(tasks.TaskError, match=message):
        tasks.create("length", {"min_tokens": low, "max_tokens": high})
