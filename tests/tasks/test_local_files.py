"""A corpus of local files has the texts of its tables, and no prompt is in two splits."""

from __future__ import annotations

import json

import pytest

from tasks.corpora import local_files
from tasks.corpora.tables import TableError

ROWS = {
    "train": [
        {"talk": "A: hello there\nB: good morning to you", "gist": " They greet. "},
        {"talk": "A: one two three", "gist": "Counting."},
    ],
    "test": [{"talk": "A: one two four", "gist": "Counting."}],
}
COLUMNS = {"prompt": "talk", "completion": "gist"}


@pytest.fixture
def load(tmp_path):
    """Loads a corpus of these rows in each split."""

    def load(rows=ROWS, **settings):
        files = {}
        for split, table in rows.items():
            path = tmp_path / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in table))
            files[split] = str(path)
        return local_files.load({"columns": COLUMNS} | settings, files, seed=0)

    return load


def test_prompts_and_completions_are_those_of_the_file(load):
    splits = load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 2, "test": 1}
    assert splits["train"].to_list() == [
        {"prompt": "A: hello there\nB: good morning to you", "completion": " They greet. "},
        {"prompt": "A: one two three", "completion": "Counting."},
    ]


def test_prompts_alone_have_empty_completions(load):
    [row] = load(columns={"prompt": "talk"})["test"]
    assert row == {"prompt": "A: one two four", "completion": ""}


def test_the_chosen_completion_of_a_pair_is_a_demonstration(load):
    rows = {"train": [{"good": "Why? Because.", "bad": "Why? Dunno."}]}
    named = {"chosen": "good", "rejected": "bad"}
    [row] = load(rows, columns=named, prompt_ends_with="?")["train"]
    assert row == {"prompt": "Why?", "completion": " Because."}


def test_prompts_are_cut_to_a_number_of_words_and_keep_their_line_breaks(load):
    splits = load(max_prompt_words=3)
    assert list(splits["train"]["prompt"]) == ["A: hello there", "A: one two"]
    # Prompts that differ only behind the cut are in two splits.
    assert list(splits["test"]["prompt"]) == ["A: one two"]
    assert list(load(max_prompt_words=5)["train"]["prompt"])[0] == "A: hello there\nB: good"


def test_a_prompt_in_two_splits_is_refused(load):
    with pytest.raises(TableError, match=r"train\.jsonl, row 2: the prompt is also that of .*test"):
        load(ROWS | {"test": [ROWS["train"][1]]})


def test_an_empty_value_is_refused_or_left_out_and_said(load, capsys):
    rows = ROWS | {"train": [{"talk": "A: ", "gist": None}, *ROWS["train"]]}
    with pytest.raises(TableError, match=r"train\.jsonl, row 1: the column 'gist' is empty"):
        load(rows)
    splits = load(rows, skip_unusable=True)
    assert len(splits["train"]) == 2
    assert capsys.readouterr().out == (
        "train: rows left out, because nothing can learn from them: 1\n"
    )
