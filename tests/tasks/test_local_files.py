"""Local files of every kind give the same rows, and errors name the file or the column."""

import gzip
import json

import pandas as pd
import pytest

from tasks.corpora import local_files

ROWS = [
    {"talk": "A: hello there\nB: good morning to you", "gist": " They greet. "},
    {"talk": "A: one two three", "gist": "Counting."},
    {"talk": "", "gist": "Nothing was said."},
    {"talk": "A: no summary", "gist": None},
]
COLUMNS = {"prompt": "talk", "completion": "gist"}


@pytest.fixture
def folder(tmp_path):
    lines = "\n".join(json.dumps(row) for row in ROWS) + "\n"
    (tmp_path / "rows.jsonl").write_text(lines)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pd.DataFrame(ROWS).to_parquet(tmp_path / "rows.parquet")
    return tmp_path


def load(folder, name="rows.jsonl", **more):
    settings = {"files": {"train": name, "test": name}, "columns": COLUMNS, **more}
    return local_files.load(settings, dict.fromkeys(["train", "test"], str(folder / name)), seed=0)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_files_of_all_kinds_give_the_same_rows(folder, name):
    splits = load(folder, name)
    assert list(splits) == ["train", "test"]
    assert splits["train"].to_list() == [
        {"prompt": "A: hello there\nB: good morning to you", "completion": "They greet."},
        {"prompt": "A: one two three", "completion": "Counting."},
    ]


def test_prompts_are_cut_to_a_number_of_words_and_keep_their_line_breaks(folder):
    rows = load(folder, max_prompt_words=5)["test"]
    assert list(rows["prompt"]) == ["A: hello there\nB: good", "A: one two three"]


def test_a_missing_column_is_an_error_that_names_it(folder):
    with pytest.raises(ValueError, match=r"no column 'text'; it has \['gist', 'talk'\]"):
        load(folder, columns={"prompt": "text", "completion": "gist"})


def test_a_file_without_usable_rows_is_refused(folder):
    (folder / "empty.jsonl").write_text('{"talk": "", "gist": ""}\n')
    with pytest.raises(ValueError, match="no row with both"):
        load(folder, "empty.jsonl")
